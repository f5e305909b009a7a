"""A record that waits for its confirmation, of a server that has nothing to confirm, holds nobody up."""

from __future__ import annotations

from datetime import timedelta

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud, add, moves_of
from testbed.lifecycle.little_cloud import START, LittleCloud
from vmferry.cloud.model import Migration


def left_behind(cloud: LittleCloud, name: str, source: str, target: str) -> None:
    """Of a resize 90 days ago, after which somebody has reset the server's state."""
    old = (START - timedelta(days=90)).isoformat()
    record = Migration(
        id=len(cloud.migrations) + 1,
        uuid=f"old-{name}",
        server_id=ident(name),
        type="resize",
        status="finished",
        source_host=source,
        target_host=target,
        user_id="somebody",
        created_at=old,
        updated_at=old,
        old_flavor_id=1,
        new_flavor_id=2,
    )
    cloud.migrations.append(record)
    cloud._visible[record.uuid] = START
    cloud._due[record.uuid] = START


def test_its_server_leaves_and_the_host_becomes_empty() -> None:
    cloud = a_cloud("web-1")
    left_behind(cloud, "web-1", "cmp3", "cmp1")
    d = Drain(cloud)
    d.apply("cmp1")
    d.in_maintenance()
    assert moves_of(cloud, "web-1") == 1


def test_one_whose_server_is_elsewhere_keeps_no_host_from_being_empty() -> None:
    cloud = a_cloud()
    add(cloud, "web-1", "cmp3")
    left_behind(cloud, "web-1", "cmp1", "cmp3")
    d = Drain(cloud)
    d.apply("cmp1")
    d.in_maintenance()


def test_a_resize_that_waits_for_its_confirmation_still_holds_its_source() -> None:
    cloud = a_cloud()
    add(cloud, "web-1", "cmp3", vm_state="resized")
    left_behind(cloud, "web-1", "cmp1", "cmp3")
    d = Drain(cloud)
    d.apply("cmp1")
    d.rest(120)
    assert d.phase() != "InMaintenance"
