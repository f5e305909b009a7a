"""What the plug-in shows of objects: a file a kind, and the layouts that are the same for all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmferry.cli.ferry.views.maintenance import MaintenanceView
from vmferry.cli.ferry.views.migration import MigrationView
from vmferry.cli.ferry.views.view import View
from vmferry.resources.base import Resource
from vmferry.resources.catalog import HOST_MAINTENANCE, VM_MIGRATION

#: by kind, in the order of `status`
VIEWS: Mapping[str, View[Any]] = {HOST_MAINTENANCE.name: MaintenanceView(), VM_MIGRATION.name: MigrationView()}


def view_of(obj: Resource) -> View[Any]:
    return VIEWS[obj.KIND]
