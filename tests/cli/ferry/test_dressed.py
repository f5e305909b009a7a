"""A frame's lines in colours."""

from __future__ import annotations

import pytest

from vmferry.cli.ferry.views.frame import bar, dressed
from vmferry.cli.terminal import Paint

GREEN, CYAN, RED, PLAIN = "\x1b[32m", "\x1b[36m", "\x1b[31m", "\x1b[0m"
#: line: the same in colours
LINES = {
    f"  {bar(50)}, 1 of 2 moved": f"  [{GREEN}{'#' * 12}{PLAIN}{'.' * 12}]  50%, 1 of 2 moved",
    f"  {bar(0)}": f"  {bar(0)}",
    "  moving app-1 -> cmp2": f"  {CYAN}moving{PLAIN} app-1 -> cmp2",
    "  returning app-1 -> cmp1": f"  {CYAN}returning{PLAIN} app-1 -> cmp1",
    "  blocked db-7: Locked: it is": f"  {RED}blocked{PLAIN} db-7: Locked: it is",
    "HostMaintenance cmp1 Draining 36s": "HostMaintenance cmp1 Draining 36s",
    "  blockedness is no state": "  blockedness is no state",
}


@pytest.mark.parametrize("line", LINES)
def test_it_is_dressed(line: str) -> None:
    assert dressed(line, Paint(True)) == LINES[line]
    assert dressed(line, Paint(False)) == line
