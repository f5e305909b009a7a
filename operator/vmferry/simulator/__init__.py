"""A cloud in memory that speaks the OpenStack HTTP API: for the demo, for tests, for trying manifests safely.

`python -m vmferry.simulator --fleet FILE` serves Keystone, Nova, Placement and Glance on one loopback port.  Its
answers (codes, texts, fields by microversion, races) follow what a real Nova was measured to say; what a hypervisor
would do is replaced by a clock and a table of durations.
"""
