"""Facts about hosts that Nova's services and hypervisors do not report: one file per source, merged in `collect`."""
