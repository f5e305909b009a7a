"""What the operator reports to Prometheus: all metrics, what counts requests, and what is computed at a scrape."""
