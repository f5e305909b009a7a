"""What the plug-in shows of objects: a module for each kind, and layouts that all kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmferry.cli.ferry.views.maintenance import MaintenanceView
from vmferry.cli.ferry.views.migration import MigrationView
from vmferry.cli.ferry.views.view import View
from vmferry.resources.base import Resource
from vmferry.resources.catalog import HOST_MAINTENANCE, VM_MIGRATION

#: by kind, in the order in which `status` lists them
VIEWS: Mapping[str, View[Any]] = {HOST_MAINTENANCE.name: MaintenanceView(), VM_MIGRATION.name: MigrationView()}


def view_of(obj: Resource) -> View[Any]:
    return VIEWS[obj.KIND]
