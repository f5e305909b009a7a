"""The kinds that the operator serves, with an entry for each type of `resources/catalog.py`."""

from __future__ import annotations

from vmferry.reconcilers.kind import Kinds
from vmferry.reconcilers.maintenance.kind import HOST_MAINTENANCE
from vmferry.reconcilers.migration.kind import VM_MIGRATION

KINDS: Kinds = {kind.name: kind for kind in (VM_MIGRATION, HOST_MAINTENANCE)}

__all__ = ["HOST_MAINTENANCE", "KINDS", "VM_MIGRATION"]
