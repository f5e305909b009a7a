"""The environment of the demo and the tests: a Kubernetes API, a real Nova, a simulated cloud, all on loopback."""
