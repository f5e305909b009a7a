"""`kubectl ferry` in a real terminal: drawn again in its place, narrow or wide, with colours or without."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbed.terminal import Terminal
from tests.cli.ferry.bodies import ready, under_way
from tests.cli.ferry.test_ferry_kubernetes import BLOCKED, COMMAND, MIGRATING, SUCCEEDED, WEB, Space, space

pytestmark = pytest.mark.kubernetes
__all__ = ["space"]

Open = Callable[..., Terminal]
SCREENS = {"wide": 120, "narrow": 40, "hardly there": 12}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal(space: Space) -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_(*args: str, columns: int = 100, **environment: str) -> Terminal:
        command = [*COMMAND, "-n", space.namespace, *args]
        opened.append(Terminal(command, space.environment(**environment), columns=columns, lines=24))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def draining(moved: int) -> dict[str, Any]:
    moves = [
        {"server": WEB, "name": f"a-server-with-quite-a-long-name-{n}", "state": "Moving", "targetHost": "cmp2"}
        for n in range(2)
    ]
    progress = {"total": 9, "moved": moved, "moving": 2, "waiting": 7 - moved, "blocked": 0, "staying": 0}
    percent = {"percent": 100 * moved // 9}
    return {"phase": "Draining", "conditions": under_way("Draining"), "progress": progress | percent, "moves": moves}


@pytest.mark.parametrize("columns", SCREENS.values(), ids=SCREENS.keys())
def test_a_drain_is_drawn_again_in_its_place(columns: int, space: Space, terminal: Open) -> None:
    seen = terminal("drain", space.host, "--watch", columns=columns)
    space.operate("hm", space.host, draining(1))
    drawn = seen.until(lambda lines: sum("moving" in line for line in lines) >= 2, "two moves")
    for moved in (2, 3):
        space.operate("hm", space.host, draining(moved))
        share = f"[{'#' * (24 * (100 * moved // 9) // 100)}."
        again = seen.until(lambda lines: any(share[: columns - 4] in line for line in lines), f"{moved} of 9")  # noqa: B023
        assert len(again) == len(drawn), "one frame on the screen, whatever was drawn before"
        assert sum("[" in line for line in again) == 1
    space.operate(
        "hm", space.host, {"phase": "InMaintenance", "conditions": ready("InMaintenance", "found empty twice")}
    )
    assert seen.end() == 0
    assert not any("[#" in line for line in seen.shown), "the frame makes room for the last word"
    assert "InMaintenance" in "".join(seen.shown)


def test_ctrl_c_ends_only_the_looking(space: Space, terminal: Open) -> None:
    seen = terminal("live", WEB, "--name", "web-1", "--watch")
    space.operate("vmm", "web-1", MIGRATING)
    seen.until(lambda lines: any("42%" in line for line in lines), "the progress")
    seen.type("\x03")
    assert seen.end() == 130
    # the terminal wraps what is longer than a line
    assert "".join(seen.shown[-3:]).endswith(
        f"interrupted: VMMigration {space.namespace}/web-1 stays as it is and goes on in the cluster. "
        f"Withdraw it: kubectl ferry cancel web-1 -n {space.namespace}"
    )
    assert "Traceback" not in seen.text
    made = space.get("vmm", "web-1")
    assert made["status"]["phase"] == "Migrating" and "deletionTimestamp" not in made["metadata"]


#: English sentence: environment, whether there are colours, whether the frame is drawn again
TERMINALS = {
    "a usual one": ({}, True, True),
    "somebody who wants no colours": ({"NO_COLOR": "1"}, False, True),
    "a terminal that can nothing": ({"TERM": "dumb"}, False, False),
}


@pytest.mark.parametrize("sentence", TERMINALS)
def test_what_is_written_to(sentence: str, space: Space, terminal: Open) -> None:
    environment, colours, again = TERMINALS[sentence]
    seen = terminal("live", WEB, "--name", "web-1", "--watch", **environment)
    space.operate("vmm", "web-1", MIGRATING)
    seen.until(lambda lines: any("42%" in line for line in lines), "the progress")
    space.operate("vmm", "web-1", SUCCEEDED)
    assert seen.end() == 0
    assert (COLOUR.search(seen.text) is not None, "F\x1b[J" in seen.text) == (colours, again)
    assert ("\x1b" in seen.text) is (colours or again)


def test_no_terminal_gets_neither_colours_nor_frames(space: Space) -> None:
    process = space.start("live", WEB, "--name", "web-1", "--watch")
    space.operate("vmm", "web-1", MIGRATING)
    space.operate("vmm", "web-1", SUCCEEDED)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "\x1b" not in out + err and "[#" not in out


def test_a_page_fits_a_narrow_terminal(space: Space, terminal: Open) -> None:
    space.ferry("live", WEB, "--name", "web-1")
    long = "ask its owner, who is on holiday, and then unlock it with the client of your cloud"
    blocked = {**BLOCKED, "prerequisites": [{**BLOCKED["prerequisites"][0], "remedy": long}]}  # type: ignore[index]
    space.operate("vmm", "web-1", blocked)
    seen = terminal("why", "web-1", columns=50)
    assert seen.end() == 1
    shown = seen.shown
    start = next(n for n, line in enumerate(shown) if line.strip().startswith("remedy"))
    assert shown[start : start + 3] == [
        "    remedy    ask its owner, who is on holiday,",
        "              and then unlock it with the client",
        "              of your cloud",
    ]
