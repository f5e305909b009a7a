"""The real parts that demo and tests run on: a Kubernetes API, a Nova cloud, the simulated cloud, all on loopback."""
