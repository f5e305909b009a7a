"""The configuration files of a lab, with the settings that differ from OpenStack's defaults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from testbed.cloud import CLOUD_NAME
from testbed.nova.hosts import Host
from testbed.nova.install import Programs
from testbed.processes import free_ports

Sections = Mapping[str, Mapping[str, object]]

#: The clouds.yaml entry of a user without rights beyond its own project
TENANT_CLOUD_NAME = "tenant"
TENANT_USER = "operator"
TENANT_PROJECT = "tenant"

REGION = "RegionOne"
DATABASES = ("keystone", "placement", "glance", "nova_api", "nova_cell0", "nova_cell1")


@dataclass(frozen=True)
class Ports:
    """The ports of all services. They listen on 127.0.0.1 (Erlang's epmd also on ::1)."""

    keystone: int
    placement: int
    glance: int
    nova: int
    neutron: int
    mariadb: int
    rabbitmq: int
    rabbitmq_cluster: int
    epmd: int

    @classmethod
    def free(cls) -> Ports:
        return cls(*free_ports(len(fields(cls))))

    def url(self, service: str) -> str:
        """The endpoint of a service type, as in the service catalog."""
        return {
            "identity": f"http://127.0.0.1:{self.keystone}/v3",
            "placement": f"http://127.0.0.1:{self.placement}",
            "image": f"http://127.0.0.1:{self.glance}",
            "compute": f"http://127.0.0.1:{self.nova}/v2.1",
            "network": f"http://127.0.0.1:{self.neutron}",
        }[service]


@dataclass(frozen=True)
class Layout:
    """The folder of a run, and the addresses of its services."""

    run_dir: Path
    ports: Ports
    password: str  # of all accounts: administrator, tenant, services, database, broker

    @property
    def etc(self) -> Path:
        return self.run_dir / "etc"

    @property
    def clouds_yaml(self) -> Path:
        return self.run_dir / "clouds.yaml"

    @property
    def database_dir(self) -> Path:
        return self.run_dir / "mysql"

    def state_dir(self, host: str) -> Path:
        return self.run_dir / "state" / host

    def address(self, index: int) -> str:
        """The address of the host with this index. Nova treats hosts with equal addresses as one host.

        Nothing listens there. The network follows from a port, so two labs on a machine have different addresses.
        """
        return f"127.{self.ports.mariadb >> 8}.{self.ports.mariadb & 255}.{11 + index}"


def write_configuration(
    layout: Layout, programs: Programs, hosts: tuple[Host, ...] = (), settings: Mapping[str, object] | None = None
) -> None:
    """Write all configuration files of the run, and create the folders that they refer to.

    `settings` override those of the section DEFAULT of nova.conf.
    """
    nova_etc = layout.etc / "nova"
    for folder in ("state/lock", "glance/staging", "glance/tasks", "knobs"):
        (layout.run_dir / folder).mkdir(parents=True, exist_ok=True)
    _write_ini(layout.etc / "keystone" / "keystone.conf", _keystone(layout))
    _write_ini(layout.etc / "placement" / "placement.conf", _placement(layout))
    _write_ini(layout.etc / "glance" / "glance-api.conf", _glance(layout, programs))
    nova = _nova(layout)
    _write_ini(nova_etc / "nova.conf", {**nova, "DEFAULT": {**nova["DEFAULT"], **(settings or {})}})
    # Nova searches for it only next to nova.conf
    shutil.copy(programs.venv / "etc" / "nova" / "api-paste.ini", nova_etc)
    for index, host in enumerate(hosts):
        _write_ini(nova_etc / f"{host.name}.conf", _nova_compute(layout, host, layout.address(index)))
        _make_state(layout, host)
    definitions = {host.name: {**asdict(host), "address": layout.address(i)} for i, host in enumerate(hosts)}
    (layout.run_dir / "hosts.json").write_text(json.dumps(definitions, indent=1))
    _write_rabbitmq(layout)
    _write_clouds(layout)


def _write_ini(path: Path, sections: Sections) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {_ini_value(value)}" for name, value in options.items()]
    path.write_text("\n".join(lines) + "\n")


def _ini_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _database(layout: Layout, name: str) -> dict[str, object]:
    url = f"mysql+pymysql://nova:{layout.password}@127.0.0.1:{layout.ports.mariadb}/{name}?charset=utf8"
    return {"connection": url, "max_pool_size": 20, "max_overflow": 40}


def _user(layout: Layout, name: str) -> dict[str, object]:
    return {
        "auth_type": "password",
        "auth_url": layout.ports.url("identity"),
        "username": name,
        "password": layout.password,
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }


def _token_check(layout: Layout, name: str) -> dict[str, object]:
    return {**_user(layout, name), "www_authenticate_uri": layout.ports.url("identity")}


def _keystone(layout: Layout) -> Sections:
    keys = layout.run_dir / "keystone-keys"
    return {
        "database": _database(layout, "keystone"),
        "token": {"provider": "fernet", "expiration": 86400},
        "fernet_tokens": {"key_repository": keys / "fernet"},
        "fernet_receipts": {"key_repository": keys / "fernet"},
        "credential": {"key_repository": keys / "credential"},
        "identity": {"password_hash_rounds": 4},  # the minimum, because the lab's password is random
        "cache": {"enabled": True, "backend": "oslo_cache.dict"},
    }


def _placement(layout: Layout) -> Sections:
    return {
        "api": {"auth_strategy": "keystone"},
        "placement_database": _database(layout, "placement"),
        "keystone_authtoken": _token_check(layout, "placement"),
    }


def _glance(layout: Layout, programs: Programs) -> Sections:
    store = layout.run_dir / "glance"
    return {
        "DEFAULT": {"enabled_backends": "file1:file"},
        "database": _database(layout, "glance"),
        "glance_store": {"default_backend": "file1"},
        "file1": {"filesystem_store_datadir": store},
        "os_glance_staging_store": {"filesystem_store_datadir": store / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": store / "tasks"},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": programs.venv / "etc" / "glance" / "glance-api-paste.ini",
        },
        "oslo_messaging_notifications": {"driver": "noop"},
        "keystone_authtoken": _token_check(layout, "glance"),
    }


def _nova(layout: Layout) -> Sections:
    nova = _user(layout, "nova")
    return {
        "DEFAULT": {
            "state_path": layout.run_dir / "state",
            "transport_url": f"rabbit://nova:{layout.password}@127.0.0.1:{layout.ports.rabbitmq}/",
            "my_ip": "127.0.0.1",
            "osapi_compute_workers": 1,
            # a dead nova-compute is detected within seconds
            "report_interval": 2,
            "service_down_time": 8,
            "periodic_fuzzy_delay": 0,
            "update_resources_interval": 30,
            "rpc_response_timeout": 30,
            "long_rpc_timeout": 120,
            "graceful_shutdown_timeout": 1,
            "initial_cpu_allocation_ratio": 16,
            "cpu_allocation_ratio": 16.0,
            "ram_allocation_ratio": 8.0,
            "disk_allocation_ratio": 100.0,
            "max_concurrent_live_migrations": 2,
            "vif_plugging_is_fatal": False,
            "vif_plugging_timeout": 0,
            "running_deleted_instance_action": "noop",
            "heal_instance_info_cache_interval": -1,
            "sync_power_state_interval": -1,
            "volume_usage_poll_interval": 0,
            "instance_delete_interval": 60,
        },
        "api": {"auth_strategy": "keystone"},
        "database": _database(layout, "nova_cell1"),
        "api_database": _database(layout, "nova_api"),
        "quota": {"instances": -1, "cores": -1, "ram": -1, "server_groups": -1, "key_pairs": -1},
        "scheduler": {"discover_hosts_in_cells_interval": 2, "workers": 1},
        "filter_scheduler": {
            "enabled_filters": "ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,"
            "ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,AggregateInstanceExtraSpecsFilter,"
            "NUMATopologyFilter",
            "track_instance_changes": False,
        },
        "conductor": {"workers": 1},
        "workarounds": {"disable_rootwrap": True},
        "oslo_concurrency": {"lock_path": layout.run_dir / "state" / "lock"},
        "oslo_messaging_rabbit": {"rabbit_quorum_queue": False, "heartbeat_in_pthread": False},
        "oslo_messaging_notifications": {"driver": "noop"},
        "glance": {"api_servers": layout.ports.url("image")},
        "vnc": {"enabled": False},
        "service_user": {**nova, "send_service_user_token": True},
        "keystone_authtoken": {
            **_token_check(layout, "nova"),
            "service_token_roles_required": True,
            "service_token_roles": "service",
        },
        "placement": nova,
        "neutron": nova,
        "keystone": nova,
    }


def _nova_compute(layout: Layout, host: Host, address: str) -> Sections:
    return {
        "DEFAULT": {
            "host": host.name,
            "my_ip": address,
            "compute_driver": "libvirt.LibvirtDriver",
            "state_path": layout.state_dir(host.name),
            # every nova-compute runs in its state folder: the path is the same on all hosts, the files are not
            "instances_path": "/proc/self/cwd/instances",
            "use_cow_images": False,
            "reserved_host_disk_mb": 0,
        },
        "libvirt": {
            "virt_type": "kvm",
            "images_type": "raw",
            "cpu_mode": "host-model",
            "live_migration_uri": "qemu+tcp://%s/system",
        },
        "oslo_concurrency": {"lock_path": layout.state_dir(host.name)},
    }


def _make_state(layout: Layout, host: Host) -> None:
    instances = layout.state_dir(host.name) / "instances"
    instances.parent.mkdir(parents=True)
    if host.store == "local":
        instances.mkdir()
    else:
        (layout.run_dir / "state" / f"{host.store}-instances").mkdir(exist_ok=True)
        instances.symlink_to(f"../{host.store}-instances")


def _write_rabbitmq(layout: Layout) -> None:
    folder = layout.run_dir / "rabbitmq"
    folder.mkdir(exist_ok=True)
    settings = {
        "listeners.tcp.1": f"127.0.0.1:{layout.ports.rabbitmq}",
        "default_user": "nova",
        "default_pass": layout.password,
        "default_user_tags.administrator": "true",
        "vm_memory_high_watermark.absolute": "512MB",
        "disk_free_limit.absolute": "50MB",
        "log.console": "false",
        "log.file.level": "warning",
    }
    (folder / "rabbitmq.conf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
    (folder / "enabled_plugins").write_text("[].\n")


def _write_clouds(layout: Layout) -> None:
    def cloud(user: str, project: str) -> dict[str, object]:
        return {
            "auth": {
                "auth_url": layout.ports.url("identity"),
                "username": user,
                "password": layout.password,
                "project_name": project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": REGION,
            "interface": "public",
            "identity_api_version": 3,
        }

    clouds = {CLOUD_NAME: cloud("admin", "admin"), TENANT_CLOUD_NAME: cloud(TENANT_USER, TENANT_PROJECT)}
    layout.clouds_yaml.write_text(yaml.safe_dump({"clouds": clouds}, sort_keys=False))
