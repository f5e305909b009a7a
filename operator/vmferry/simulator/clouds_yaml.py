"""Writes a clouds.yaml with which OpenStack clients connect to the simulator."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from vmferry.simulator.cloud import Cloud

#: entry by user name; the demo and the tests use the administrator's entry
_ENTRIES = {"admin": "vmferry", "operator": "tenant"}


def write(path: Path, url: str, cloud: Cloud) -> None:
    """Write an entry for each user: `vmferry` for admin, `tenant` for operator, the user's name otherwise. Mode
    0600."""
    entries = {}
    for user in cloud.users.values():
        project = cloud.projects[next(iter(user.roles))]
        entries[_ENTRIES.get(user.name, user.name)] = {
            "auth": {
                "auth_url": f"{url}/identity/v3",
                "username": user.name,
                "password": user.password,
                "project_name": project.name,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": cloud.settings.region,
            "interface": "public",
            "identity_api_version": "3",
        }
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump({"clouds": entries}, file, sort_keys=False)
