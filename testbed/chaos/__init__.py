"""Random requests and random faults against the real operator process, checked against the cloud's own records."""
