"""The folders and files of a lab as the programs inside see them; `testbed/nova/lab.py` writes them.

hosts.json          per host: CPU, memory, disk, versions, address (see `testbed/nova/hosts.py`)
knobs/<host>.json   how migrations from this host behave; read at each use
state/<host>/       the host's files: Nova's state, `instances`, and `domains` (the stand-in's guests)
"""

import json
import os
from pathlib import Path

RUN_DIR = Path(os.environ["VMFERRY_NOVA_RUN"])


def own_host():
    """The host of this process's nova-compute."""
    return os.environ["VMFERRY_NOVA_HOST"]


def hosts():
    return json.loads((RUN_DIR / "hosts.json").read_text())


def host_definition(name):
    return hosts()[name]


def host_at(address):
    """The host with this address or name, or None."""
    return next((name for name, host in hosts().items() if address in (name, host["address"])), None)


def knob(name, default=None):
    try:
        return json.loads((RUN_DIR / "knobs" / f"{own_host()}.json").read_text()).get(name, default)
    except FileNotFoundError:
        return default


def state_dir(host):
    return RUN_DIR / "state" / host


#: Every nova-compute runs in its host's state folder. So all hosts have the same instances path, as in a real cloud,
#: but different files below it.
OWN_STATE_DIR = "/proc/self/cwd"


def as_seen_from_outside(path, host):
    """The absolute path of a path that `host` sees as `/proc/self/cwd/...`."""
    return path.replace(OWN_STATE_DIR, str(state_dir(host)), 1)
