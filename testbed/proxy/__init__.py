"""Stands in front of real servers and makes trouble on the wire: the simulated cloud, a real Nova, a Kubernetes API."""
