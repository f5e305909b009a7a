"""A cloud in memory that speaks the OpenStack HTTP API, for the demo, for tests, and to try manifests safely.

`python -m vmferry.simulator --fleet FILE` serves Keystone, Nova, Placement, Glance, Cinder and Neutron on one loopback
port. Status codes, error texts, the fields of each microversion, and race conditions follow measurements of a real
Nova. Hypervisors are replaced by a clock and a table of durations.
"""
