"""Benchmarks: `make bench` prints a line for each figure."""
