"""`python -m testbed demo|up|down [--cloud simulator|nova]`: what the Makefile's targets of these names run."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import traceback
from pathlib import Path

from testbed.bed import CLOUDS, OPERATOR, Bed
from testbed.demo import NAMESPACE, SERVERS, Demo
from testbed.processes import Supervisor, run_root
from testbed.shown import heading, say, still_working

UP = "up"
DEMO = "demo"


def run_dir(what: str) -> Path:
    return run_root() / what


def build(cloud: str, what: str) -> Bed:
    """Start a new bed in its run folder, after stopping the processes of an earlier run there."""
    where = run_dir(what)
    supervisor = Supervisor(where)
    supervisor.stop_all()
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(mode=0o700, parents=True)
    supervisor = Supervisor(where)
    began = time.monotonic()
    heading(f"Starting a Kubernetes API, the cloud ({cloud}) and the operator")
    try:
        with still_working("starting"):
            bed = Bed.start(cloud, supervisor, where)
            bed.install_operator()
            bed.start_operator()
    except BaseException:
        if last := supervisor.log_tail(OPERATOR, 15):
            say(f"the operator's last lines, of {supervisor.log(OPERATOR)}:\n{last}")
        supervisor.stop_all()
        raise
    say(f"up after {time.monotonic() - began:.0f} s")
    return bed


def demo(cloud: str) -> int:
    bed = None
    try:
        bed = build(cloud, DEMO)
        Demo(bed).run()
    except Exception as error:
        traceback.print_exc()
        if bed is not None:
            last = bed.supervisor.log_tail(OPERATOR, 40)
            say(f"\nthe operator's last lines, of {bed.supervisor.log(OPERATOR)}:\n{last}")
        say(f"demo: failed: {error}")
        return 1
    finally:
        if bed is not None:
            bed.supervisor.stop_all()
    say("\ndemo: ok")
    return 0


def up(cloud: str) -> int:
    bed = build(cloud, UP)
    bed.cluster.kubectl_run("create", "namespace", NAMESPACE)
    say("booting four servers")
    Demo(bed).seed(*SERVERS)
    say(
        f"""
All is up and stays up; `make down` ends it. Four servers are running: web-1, db-1 (powered off), cache-1, legacy-1.

  export KUBECONFIG={bed.cluster.kubeconfig}
  export PATH={bed.cluster.kubectl.parent}:$PATH
  export OS_CLIENT_CONFIG_FILE={bed.cloud.clouds_yaml} OS_CLOUD=vmferry

Things to try:
  kubectl apply -f manifests/demo/live.yaml
  kubectl get vmm -n migrations -w
  kubectl describe vmm web-1 -n migrations
  kubectl apply -f manifests/demo/refused.yaml
  kubectl get events -n migrations
  kubectl apply -f manifests/demo/maintenance.yaml && kubectl get hm -w
  tail -f {bed.supervisor.log(OPERATOR)}"""
    )
    return 0


def down() -> int:
    stopped = False
    for what in (UP, DEMO):
        if run_dir(what).exists():
            supervisor = Supervisor(run_dir(what))
            names = supervisor.names()
            supervisor.stop_all()
            stopped = stopped or bool(names)
            say(f"stopped: {', '.join(names)}" if names else f"nothing of {what} was running")
    if not stopped:
        say("nothing was up")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed", description=__doc__)
    parser.add_argument("what", choices=("demo", "up", "down"))
    parser.add_argument("--cloud", choices=CLOUDS, default="simulator")
    args = parser.parse_args()
    if args.what == "down":
        return down()
    return demo(args.cloud) if args.what == "demo" else up(args.cloud)


if __name__ == "__main__":
    sys.exit(main())
