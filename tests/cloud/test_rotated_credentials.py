"""When clouds.yaml counts as changed: a new login is tried once for each change, and never before the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmferry.cloud.nova import CloudError, NovaClient


def test_a_changed_clouds_yaml_is_noticed_once(tmp_path: Path) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text("clouds: {one: {auth: {auth_url: 'http://127.0.0.1:1/v3', username: a, password: b}}}")
    client = NovaClient("one", clouds_yaml=path)
    assert not client.rotated, "the first login is no new one"
    for _ in range(2):
        with pytest.raises(CloudError):
            client.connect()
        assert not client.rotated
        path.write_text(path.read_text().replace("password: b", "password: bb"))
        assert client.rotated
    path.unlink()
    assert not client.rotated, "while a Secret is being replaced there may be no file"


def test_without_a_file_of_its_own_nothing_is_noticed() -> None:
    assert not NovaClient("one").rotated
