"""A real Kubernetes API on loopback, compiled from Go modules. Needs no container and no root."""
