"""services.py SERVICE...: Nova's `conductor`, `scheduler` and `compute:<host>`, each a process of its own.

Nova is imported once and then forked: that saves seconds of start and half of the memory. Each service becomes
the leader of its own session, with its own log `<name>.log` and its record `<name>.process.json` (the
convention of `testbed/processes.py`), so that it can be stopped alone and by any process. A single SERVICE is
not forked: who started this program has recorded it already.

Environment: VMFERRY_NOVA_RUN (the lab's folder), VMFERRY_NOVA_RECORDS (where logs and records go).
"""

import importlib
import json
import os
import socket
import sys
import time
import traceback
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"

import nova.cmd.compute  # noqa: E402
import nova.cmd.conductor  # noqa: E402
import nova.cmd.scheduler  # noqa: E402
import nova.conf  # noqa: E402
import nova.config  # noqa: E402
import oslo_messaging  # noqa: E402
from lab_files import RUN_DIR, state_dir  # noqa: E402

NOVA_CONF = RUN_DIR / "etc" / "nova" / "nova.conf"
RECORDS = Path(os.environ["VMFERRY_NOVA_RECORDS"])
MAIN = {
    "conductor": nova.cmd.conductor.main,
    "scheduler": nova.cmd.scheduler.main,
    "compute": nova.cmd.compute.main,
}

#: the managers, and drivers that are otherwise loaded by name, later and in each service
IMPORTED_WITH_CONFIGURATION = (
    "nova.compute.manager",
    "nova.conductor.manager",
    "nova.scheduler.manager",
    "oslo_messaging._drivers.impl_rabbit",
    "pymysql",
    "sqlalchemy.dialects.mysql",
)

#: a compute that calls before the conductor listens waits 10 s for its next try
CONDUCTOR_HEAD_START_SECONDS = 2.5


def import_the_rest():
    # the intervals of periodic tasks are read from the configuration when the managers are imported
    nova.config.parse_args(["services", "--config-file", str(NOVA_CONF)], configure_db=False, init_rpc=False)
    for module in IMPORTED_WITH_CONFIGURATION:
        importlib.import_module(module)
    import libvirt_standin

    libvirt_standin.install()
    wait_for_broker()
    nova.conf.CONF.clear()


def wait_for_broker(seconds=120):
    """The imports overlap the broker's start; without it a service would wait for its next try."""
    (broker,) = oslo_messaging.TransportURL.parse(nova.conf.CONF).hosts
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((broker.hostname, broker.port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def serve(kind, host):
    """Become the service; does not return while it runs."""
    sys.argv = [f"nova-{kind}", "--config-file", str(NOVA_CONF)]
    if host:
        os.environ["VMFERRY_NOVA_HOST"] = host
        os.chdir(state_dir(host))  # see lab_files.OWN_STATE_DIR
        sys.argv += ["--config-file", str(NOVA_CONF.with_name(f"{host}.conf"))]
    MAIN[kind]()


def fork(kind, host):
    if os.fork():
        return
    name = f"nova-{kind}-{host}" if host else f"nova-{kind}"
    os.setsid()
    log = os.open(RECORDS / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    write_record(name)
    try:
        serve(kind, host)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # not back into the loop that forks


def write_record(name):
    import psutil

    own = psutil.Process()
    record = {
        "pid": own.pid,
        "create_time": own.create_time(),
        "program": own.cmdline()[0],
        "started_ns": time.time_ns(),
    }
    unfinished = RECORDS / f"{name}.process.new"
    unfinished.write_text(json.dumps(record))
    unfinished.replace(RECORDS / f"{name}.process.json")


def main():
    wanted = [argument.partition(":")[::2] for argument in sys.argv[1:]]
    import_the_rest()
    if len(wanted) == 1:
        serve(*wanted[0])
        return
    for kind, host in wanted:
        fork(kind, host)
        if kind == "conductor":
            time.sleep(CONDUCTOR_HEAD_START_SECONDS)
    # stay as their parent: nobody else may ask for those that end
    for _ in wanted:
        os.wait()


if __name__ == "__main__":
    main()
