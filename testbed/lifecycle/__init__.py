"""Complete lifecycles of resources in memory, reconcile by reconcile."""
