"""The only client for OpenStack."""

from vmferry.cloud.nova.answers import CellUnreachableError, CloudError
from vmferry.cloud.nova.client import NovaClient
from vmferry.cloud.nova.clouds_yaml import Login

__all__ = ["CellUnreachableError", "CloudError", "Login", "NovaClient"]
