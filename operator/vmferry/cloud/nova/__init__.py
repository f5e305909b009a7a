"""The one door to OpenStack."""

from vmferry.cloud.nova.answers import CloudError
from vmferry.cloud.nova.door import NovaDoor

__all__ = ["CloudError", "NovaDoor"]
