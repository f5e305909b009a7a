"""The databases of a fresh cloud, created once and copied for each lab, which saves most of a minute."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from testbed.nova import seed
from testbed.nova.configuration import DATABASES, REGION, Layout, Ports, write_configuration
from testbed.nova.install import CONSTRAINTS, HERE, Programs, cache_lock, nova_cache, progress, stamp
from testbed.nova.launch import Launcher
from testbed.processes import Supervisor

#: Nova fills these in from its own configuration, so the cell mapping is independent of ports and passwords.
CELL_DATABASE = "{scheme}://{username}:{password}@{hostname}:{port}/%s?{query}"
CELL_TRANSPORT = "{scheme}://{username}:{password}@{hostname}:{port}/{path}"


@dataclass(frozen=True)
class Template:
    """The data folder of a database server after a clean shutdown; all users have the same password."""

    folder: Path

    @property
    def database_dir(self) -> Path:
        return self.folder / "mysql"

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text()


def database_template(programs: Programs) -> Template:
    """Return the template for the current scripts and pins; one process at a time creates it if missing."""
    sources = [HERE / name for name in ("configuration.py", "launch.py", "seed.py", "template.py")]
    key = stamp(*sources, CONSTRAINTS)
    template = Template(nova_cache() / f"template-{key}")
    with cache_lock("template"):
        if not template.folder.exists():
            progress("databases of a fresh cloud (a minute; kept for later starts)")
            unfinished = nova_cache() / "template.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            _make(programs, unfinished)
            unfinished.replace(template.folder)
    return template


def _make(programs: Programs, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    layout = Layout(folder, Ports.free(), secrets.token_hex(16))
    supervisor = Supervisor(folder)
    launcher = Launcher(supervisor, programs, layout)
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(layout.password)
    write_configuration(layout, programs)
    write_keystone_keys(layout)
    try:
        launcher.make_database_dir()
        launcher.mariadb(_create_databases(layout))
        launcher.wait_port("mariadb", layout.ports.mariadb)
        with ThreadPoolExecutor() as together:
            schemas = [together.submit(make, launcher) for make in (_make_nova_schemas, _make_other_schemas)]
        for schema in schemas:
            schema.result()
        launcher.api("keystone")
        launcher.wait_port("keystone", layout.ports.keystone)
        seed.seed_identity(seed.connect(layout.clouds_yaml), layout)
        supervisor.stop("keystone", grace=0)
        supervisor.stop("mariadb", grace=60)
    finally:
        supervisor.stop_all(grace=0)
    for leftover in folder.iterdir():
        if leftover.name not in ("mysql", "password"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _create_databases(layout: Layout) -> list[str]:
    user = "nova@'127.0.0.1'"
    statements = [f"create user {user} identified by '{layout.password}'"]
    for database in DATABASES:
        statements.append(f"create database {database} character set utf8")
        statements.append(f"grant all on {database}.* to {user}")
    # the administrator of a fresh server has no password, and is not needed
    return [*statements, "delete from mysql.global_priv where user = 'root'", "flush privileges"]


def update_endpoints(layout: Layout) -> list[str]:
    """SQL statements that set the ports of the lab in the service catalog of a copied template."""
    return [
        "update keystone.endpoint, keystone.service "
        f"set endpoint.url = '{layout.ports.url(service_type)}' "
        f"where endpoint.service_id = service.id and service.type = '{service_type}'"
        for service_type in ("identity", "placement", "image", "compute", "network")
    ]


def write_keystone_keys(layout: Layout) -> None:
    """Create the keys that `keystone-manage fernet_setup` would create, without its startup time of seconds."""
    for name in ("fernet", "credential"):
        folder = layout.run_dir / "keystone-keys" / name
        folder.mkdir(mode=0o700, parents=True)
        for key in ("0", "1"):
            (folder / key).touch(mode=0o600)
            (folder / key).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


def _make_nova_schemas(launcher: Launcher) -> None:
    def nova_manage(*arguments: str) -> None:
        _manage(launcher, "nova-manage", "nova/nova.conf", *arguments)

    nova_manage("api_db", "sync")
    nova_manage("cell_v2", "map_cell0", "--database_connection", CELL_DATABASE % "nova_cell0")
    nova_manage("db", "sync")
    cell = ("--name", "cell1", "--transport-url", CELL_TRANSPORT)
    nova_manage("cell_v2", "create_cell", *cell, "--database_connection", CELL_DATABASE % "nova_cell1")


def _make_other_schemas(launcher: Launcher) -> None:
    keystone, layout = "keystone/keystone.conf", launcher.layout
    _manage(launcher, "keystone-manage", keystone, "db_sync")
    url = layout.ports.url("identity")
    urls = ("--bootstrap-public-url", url, "--bootstrap-internal-url", url)
    _manage(launcher, "keystone-manage", keystone, "bootstrap", "--bootstrap-region-id", REGION, *urls)
    _manage(launcher, "placement-manage", "placement/placement.conf", "db", "sync")
    _manage(launcher, "glance-manage", "glance/glance-api.conf", "db_sync")


def _manage(launcher: Launcher, command: str, config: str, *arguments: str) -> None:
    """Run an administration command of OpenStack. Raises RuntimeError with its output if it fails."""
    config_file = str(launcher.layout.etc / config)
    argv = [str(launcher.programs.script(command)), "--config-file", config_file, *arguments]
    # passed in the environment, because every user can see command lines
    env = {**launcher.inside_env(), "OS_BOOTSTRAP_PASSWORD": launcher.layout.password}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace")[-3000:]
        raise RuntimeError(f"{command} {arguments[0]} failed with {done.returncode}:\n{output}")
