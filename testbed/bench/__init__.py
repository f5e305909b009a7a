"""What things cost, a line a figure: `make bench`."""
