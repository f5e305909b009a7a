"""The one door to OpenStack."""

from vmferry.cloud.nova.answers import CellUnreachableError, CloudError
from vmferry.cloud.nova.clouds_yaml import Login
from vmferry.cloud.nova.door import NovaDoor

__all__ = ["CellUnreachableError", "CloudError", "Login", "NovaDoor"]
