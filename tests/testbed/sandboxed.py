"""A program for `test_sandbox.py`: inside, it makes one of everything that could be left behind, then ends or waits.

python -m tests.testbed.sandboxed HOW LABEL; the environment variable LABEL is carried by its processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from testbed.sandbox import enter, group, quiet
from tests.testbed.test_sandbox import COVERED, HIERARCHIES, PACKAGES


def main() -> int:
    enter("tests.testbed.sandboxed", sys.argv[1:], network=True, packages=PACKAGES)
    for number, root in enumerate(HIERARCHIES):
        path = Path(f"{root}{group()}/pods/pod{number}")
        path.mkdir(parents=True)
        held = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (path / "cgroup.procs").write_text(str(held.pid))
    quiet("ip", "netns", "add", "pod")
    quiet("ip", "netns", "exec", "pod", "ip", "link", "add", "name", "bridge0", "type", "bridge")
    for path in COVERED:
        path.write_text("written inside")
    print("inside", flush=True)
    while sys.argv[1] == "waits":
        time.sleep(600)
    return 3 if sys.argv[1] == "fails" else 0


if __name__ == "__main__":
    os.environ["LABEL"] = sys.argv[2]
    sys.exit(main())
