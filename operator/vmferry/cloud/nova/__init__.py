"""The one door to OpenStack."""

from vmferry.cloud.nova.answers import CellUnreachableError, CloudError
from vmferry.cloud.nova.door import NovaDoor

__all__ = ["CellUnreachableError", "CloudError", "NovaDoor"]
