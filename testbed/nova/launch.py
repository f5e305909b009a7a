"""Starts the programs of a lab; the supervisor's names for them are here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from testbed.nova.configuration import Layout
from testbed.nova.install import Programs
from testbed.processes import Supervisor, wait_for

INSIDE = Path(__file__).parent / "inside"

APIS = ("keystone", "placement", "glance", "nova-api")
FORK_SERVER = "nova-services"
CONTROL = ("conductor", "scheduler")


def compute_name(host: str) -> str:
    return f"nova-compute-{host}"


@dataclass(frozen=True)
class Launcher:
    """Starts the programs of a lab; returns before they are ready."""

    supervisor: Supervisor
    programs: Programs
    layout: Layout

    def inside_env(self) -> dict[str, str]:
        """The environment of programs in the nova venv, without the caller's settings for Python and OpenStack."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OS_"))}
        return {
            **ours,
            # the stand-ins for ssh, scp and qemu-img come first, then the Python that runs them
            "PATH": f"{INSIDE / 'bin'}:{self.programs.venv / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1",
            "VMFERRY_NOVA_RUN": str(self.layout.run_dir),
            "VMFERRY_NOVA_RECORDS": str(self.supervisor.run_dir),
            "no_proxy": "127.0.0.1",
            # keeps the environment of services that set their process title; the supervisor identifies processes by it
            "SPT_NOENV": "1",
        }

    def inside(self, name: str, script: str, *arguments: str) -> None:
        argv: list[str | Path] = [self.programs.python, INSIDE / script, *arguments]
        self.supervisor.start(name, argv, env=self.inside_env())

    def api(self, name: str) -> None:
        self.inside(name, "api.py", name, str(self.api_port(name)))

    def api_port(self, name: str) -> int:
        ports = self.layout.ports
        return {
            "keystone": ports.keystone,
            "placement": ports.placement,
            "glance": ports.glance,
            "nova-api": ports.nova,
        }[name]

    def neutron(self) -> None:
        self.inside("neutron", "neutron_standin.py", str(self.layout.ports.neutron))

    def nova_services(self, hosts: Iterable[str]) -> None:
        self.inside(FORK_SERVER, "services.py", *CONTROL, *(f"compute:{host}" for host in hosts))

    def nova_compute(self, host: str) -> None:
        self.inside(compute_name(host), "services.py", f"compute:{host}")

    def make_database_dir(self) -> None:
        """Create an empty database without Debian's script, which requires root and fixed paths."""
        sql = self.programs.usr / "share" / "mysql"
        folder = self.layout.database_dir
        folder.mkdir(parents=True)
        scripts = ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data")
        content = [(sql / f"{name}.sql").read_text() for name in scripts]
        bootstrap = folder.with_name("bootstrap.sql")
        bootstrap.write_text("\n".join(["create database mysql;", "use mysql;", *content]))
        with bootstrap.open("rb") as script:
            argv = [*self._mariadbd(), "--bootstrap"]
            env = self.programs.debian_env()
            done = subprocess.run(argv, stdin=script, env=env, capture_output=True, check=False)
        if done.returncode != 0:
            output = done.stderr.decode(errors="replace")[-2000:]
            raise RuntimeError(f"mariadbd --bootstrap failed:\n{output}")

    def mariadb(self, statements: Iterable[str]) -> None:
        """Start the database server, which executes the one-line `statements` before it accepts connections."""
        init = self.layout.run_dir / "init.sql"
        init.touch(mode=0o600)
        init.write_text("".join(f"{statement};\n" for statement in statements))
        argv = (
            *self._mariadbd(),
            f"--init-file={init}",
            "--bind-address=127.0.0.1",
            f"--port={self.layout.ports.mariadb}",
            # the path of a socket is limited to about 100 bytes, and none is needed
            "--socket=",
            f"--pid-file={self.layout.run_dir / 'mariadb.pid'}",
            # speed over durability: a lab that crashed is discarded
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--sync-frm=0",
            "--performance-schema=OFF",
            "--skip-name-resolve",
            "--max-connections=600",
        )
        self.supervisor.start("mariadb", argv, env=self.programs.debian_env())

    def _mariadbd(self) -> list[str]:
        argv = [
            str(self.programs.mariadbd),
            "--no-defaults",
            f"--basedir={self.programs.usr}",
            f"--lc-messages-dir={self.programs.usr / 'share' / 'mysql'}",
            f"--datadir={self.layout.database_dir}",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=128M",
            "--skip-log-bin",
        ]
        return [*argv, "--user=root"] if os.geteuid() == 0 else argv

    def rabbitmq(self) -> None:
        """Start the broker after Erlang's port mapper; otherwise Erlang starts a port mapper that nothing ends."""
        ports, folder = self.layout.ports, self.layout.run_dir / "rabbitmq"
        erlang = "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
        env = {
            **self.programs.debian_env(),
            "HOME": str(folder),  # for Erlang's cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(ports.epmd),
            "RABBITMQ_NODENAME": "vmferry@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(ports.rabbitmq),
            "RABBITMQ_DIST_PORT": str(ports.rabbitmq_cluster),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
        }
        epmd = (self.programs.epmd, "-address", "127.0.0.1", "-port", str(ports.epmd))
        self.supervisor.start("epmd", epmd, env=env)
        self.wait_port("epmd", ports.epmd)
        self.supervisor.start("rabbitmq", [self.programs.rabbitmq], env=env)

    def wait_port(self, name: str, port: int, seconds: float = 120) -> None:
        """Wait until the program listens. Raises ProcessDiedError if it ends instead."""
        wait_for(lambda: _listens(port), seconds, f"{name} to listen", lambda: self.supervisor.check(name))

    def stop(self, hosts: Iterable[str], grace: float) -> None:
        computes = [compute_name(host) for host in hosts]
        control = [f"nova-{kind}" for kind in CONTROL]
        for name in (*computes, *control, FORK_SERVER, *APIS, "neutron", "mariadb", "rabbitmq", "epmd"):
            self.supervisor.stop(name, grace)

    def clean_run_dir(self) -> None:
        """Remove everything but the logs of an earlier run."""
        for name in ("etc", "state", "knobs", "glance", "keystone-keys", "mysql", "rabbitmq"):
            shutil.rmtree(self.layout.run_dir / name, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
