"""The operator's Prometheus metrics: definitions, request counters, and gauges that are computed at a scrape."""
