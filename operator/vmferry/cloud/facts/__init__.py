"""Facts of hosts that Nova's services and hypervisors do not tell: one source a file, put together by `collect`."""
