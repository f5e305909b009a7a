"""A cloud whose certificates are not checked is reported where users of kubectl look."""

from __future__ import annotations

from dataclasses import replace

from testbed.lifecycle.drains import Drain, a_cloud
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.resources.vmmigration import VMMigrationStatus

CONDITION = ("True", "VerifyDisabled")


def verified(cloud: LittleCloud, value: bool | None) -> None:
    whole = type(cloud).snapshot
    cloud.snapshot = lambda: replace(whole(cloud), verified=value)  # type: ignore[method-assign]


def test_the_condition_is_there_while_certificates_are_not_checked() -> None:
    d = Drain(a_cloud("web-1"))
    verified(d.cloud, False)
    d.switch()
    d.run(lambda: bool(d.migrations), 300)
    (name,) = d.migrations

    def status() -> VMMigrationStatus:
        return VMMigrationStatus.model_validate(d.migrations[name]["status"])

    d.in_maintenance()
    owned = status()
    assert d.condition("cmp1", "CloudUnverified") == CONDITION
    found = owned.condition("CloudUnverified")
    assert found is not None
    assert (found.status, found.reason) == CONDITION
    assert "verify: false" in found.message
    # after a restart nothing is known until the operator has logged in
    verified(d.cloud, None)
    d.rest(300)
    assert d.condition("cmp1", "CloudUnverified") == CONDITION
    verified(d.cloud, True)
    d.rest(300)
    assert d.condition("cmp1", "CloudUnverified") is None
    assert status() == owned, "what has finished is history"
