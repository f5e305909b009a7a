"""vmferry: declarative virtual-machine migration and host maintenance for OpenStack clouds."""

__version__ = "0.1.0"
