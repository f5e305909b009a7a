"""The operator is killed at every effect, in memory: `make crash`."""
