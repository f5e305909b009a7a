"""Kills the operator at every effect, in memory: `make crash`."""
