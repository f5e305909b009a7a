"""The whole operator in virtual time, with random faults around it: `make storm`."""
