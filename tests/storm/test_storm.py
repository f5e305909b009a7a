"""A few of `make storm`'s schedules, the same ones each time; and that a broken operator is seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from testbed.storm.breaks import BREAKS

pytestmark = pytest.mark.slow

#: where sets have another order, other dice fall: a process of its own has the same one each time
ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}


def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)


def test_I3_I5_I8_I12_I18_I23_I24_I31_I32_whatever_goes_wrong_no_rule_is_broken_and_all_comes_to_an_end() -> None:
    done = run("testbed.storm", "--storms", "6", "--seed", "3002")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    line = done.stdout.splitlines()[-1]
    counts = re.fullmatch(
        r"storm: schedules 6, faults (\d+), moves (\d+), moved twice 0, lost 0, stuck 0, broken rules 0", line
    )
    assert counts, line
    faults, moves = map(int, counts.groups())
    assert faults > 20 and moves > 10, f"hardly a storm: {line}"


def test_an_operator_that_is_broken_in_a_typical_way_is_seen() -> None:
    done = run("testbed.storm.broken")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count("seen by") == len(BREAKS) and "NOT SEEN" not in done.stdout
