"""A real Kubernetes API on loopback, compiled from Go modules: needs no container and no root."""
