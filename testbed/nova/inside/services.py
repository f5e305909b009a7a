"""services.py SERVICE...: runs Nova's `conductor`, `scheduler` and `compute:<host>`, each in a process of its own.

Nova is imported once and then forked, which saves seconds of startup and half of the memory. Each service becomes the
leader of its own session, with its own log `<name>.log` and its record `<name>.process.json` (the convention of
`testbed/processes.py`), so that any process can stop it alone. A single SERVICE is not forked: the supervisor that
started this program has recorded it already.

Environment: VMFERRY_NOVA_RUN (the lab's folder), VMFERRY_NOVA_RECORDS (the folder for logs and records).
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

#: the managers, and drivers that each service would otherwise load later by name
IMPORTED_WITH_CONFIGURATION = (
    "nova.compute.manager",
    "nova.conductor.manager",
    "nova.scheduler.manager",
    "oslo_messaging._drivers.impl_rabbit",
    "pymysql",
    "sqlalchemy.dialects.mysql",
)

#: a compute that calls before the conductor listens retries only after 10 s
CONDUCTOR_HEAD_START_SECONDS = 2.5


def import_the_rest():
    # the managers read the intervals of periodic tasks from the configuration when they are imported
    nova.config.parse_args(["services", "--config-file", str(NOVA_CONF)], configure_db=False, init_rpc=False)
    for module in IMPORTED_WITH_CONFIGURATION:
        importlib.import_module(module)
    import libvirt_standin

    libvirt_standin.install()
    wait_for_broker()
    nova.conf.CONF.clear()


def wait_for_broker(seconds=120):
    """Wait for the broker, which starts during the imports; a service without it would wait for its next retry."""
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
    """Become the service; does not return while the service runs."""
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
    os._exit(0)  # must not return to the loop that forks


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
    # remain their parent, so that ended services are reaped
    for _ in wanted:
        os.wait()


if __name__ == "__main__":
    main()
