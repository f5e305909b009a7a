"""Random requests and random faults against the real operator process, judged by the cloud's own records."""
