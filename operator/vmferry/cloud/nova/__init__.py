"""The one door to OpenStack."""

from vmferry.cloud.nova.door import CloudError, NovaDoor

__all__ = ["CloudError", "NovaDoor"]
