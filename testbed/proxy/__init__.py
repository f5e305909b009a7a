"""Proxies that inject network faults in front of real servers: the simulated cloud, a real Nova, a Kubernetes API."""
