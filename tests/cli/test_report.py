"""What the formats look like, hostile texts included. No server."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.build import NOW, host, ident, migration, server, service, snapshot
from tests.cli.test_assess import TOLERANT
from tests.examples import examples
from vmferry.cli.assess import assess_servers, not_found
from vmferry.cli.report import Format, make_report
from vmferry.cli.terminal import Paint, Progress, columns, plain, wants_colour
from vmferry.cli.verdict import Tally
from vmferry.cloud.model import Host, Server
from vmferry.planning.request import Request
from vmferry.resources.vmmigration import VMMigrationStatus

#: clears the screen, sets the title, rings, turns the text around, breaks XML and CSV and the line
HOSTILE = "\x1b[2J\x1b]0;pwned\x07web\x00\x08\u202e\x9b31m\x7f\ufffe<&\"']]>\n=cmd|' /C calc'"


def rendered(
    format_: Format, *servers: Server, hosts: list[Host] | None = None, missing: str | None = None, colour: bool = False
) -> str:
    out = io.StringIO()
    view = snapshot(servers, hosts)
    report = make_report(format_, out, Paint(colour), Request(attested=None), NOW)
    tally = Tally()
    verdicts = list(assess_servers(servers, Request(attested=None), view, TOLERANT, NOW))
    for verdict in [*verdicts, *([not_found(missing, f"no server is named {missing}")] if missing else [])]:
        tally.count(verdict.answer)
        report.add(verdict)
    report.end(tally)
    return out.getvalue()


def test_a_line_a_server() -> None:
    text = rendered(
        Format.TABLE,
        server(name="web-1"),
        server(name="db-1", host="host-b", locked=True, vm_state="stopped"),
        missing="ghost",
    )
    assert text.splitlines() == [
        "NAME   ID        HOST    TYPE  VERDICT",
        f"web-1  {ident('web-1')[:8]}  host-a  Live  OK -> host-b",
        f"db-1   {ident('db-1')[:8]}  host-b  Cold  BLOCKED Locked",
        "ghost  -         -       -     UNKNOWN ServerNotFound: no server is named ghost",
        "3 servers: 1 OK, 1 blocked, 1 unknown",
    ]


def test_wide_has_the_whole_id_and_why() -> None:
    text = rendered(Format.WIDE, server(name="web-1"), server(name="web-2", locked=True))
    assert ident("web-1") in text and "ServerLock: the server is locked" in text and "VolumesOnly" in text


def test_one_server_is_told_whole() -> None:
    lines = rendered(Format.TABLE, server(name="web-1", locked=True, locked_reason="audit")).splitlines()
    assert f"web-1 ({ident('web-1')}), ACTIVE" in lines[0]
    assert "verdict  BLOCKED Locked" in lines
    told = next(line for line in lines if line.startswith("ServerLock"))
    assert told.split()[1:] == ["Failed", "host-a", "Locked:", "the", "server", "is", "locked:", "audit"]
    assert f"  remedy: ask its owner, then `openstack server unlock {ident('web-1')}`" in lines
    ranks = [line.split()[:2] for line in lines[lines.index("") :] if line[:1].isdigit()]
    assert ranks == [["1", "host-b"], ["2", "host-c"]]


def test_one_server_without_a_target_is_told_why_by_reason() -> None:
    others = [host("host-a"), host("host-b", up=False), host("host-c", up=False), host("host-d", enabled=False)]
    text = rendered(Format.TABLE, server(), hosts=others)
    assert "2      HostDown      host-b: the compute service of host-b is down" in text
    assert "1      HostDisabled  host-d: host-d is disabled" in text


@pytest.mark.parametrize("format_", Format)
def test_what_only_waits_is_no_failure_in_any_format(format_: Format) -> None:
    out = io.StringIO()
    busy = migration(server(name="other", host="host-z"), target_host="host-b")
    view = snapshot([server(), server(name="web-2")], [host("host-a"), host("host-b")], [busy])
    report, tally = make_report(format_, out, Paint(False), Request(attested=None), NOW), Tally()
    for verdict in assess_servers(
        view.servers.values(), Request(attested=None), view, replace(TOLERANT, bandwidth=1), NOW
    ):
        tally.count(verdict.answer)
        report.add(verdict)
    report.end(tally)
    said = {
        Format.TABLE: "WAITS -> host-b: NoEligibleTarget",
        Format.WIDE: "2 servers: 0 OK, 2 waiting, 0 blocked, 0 unknown",
        Format.JSON: '"waits": 2',
        Format.JUNIT: 'failures="0" errors="0"',
    }
    assert said[format_] in out.getvalue()


def test_no_server_at_all_is_said() -> None:
    assert rendered(Format.TABLE) == "no servers\n"


def test_json_has_the_fields_of_the_status() -> None:
    document = json.loads(
        rendered(Format.JSON, server(name="web-1"), server(name="web-2", locked=True), missing="ghost")
    )
    assert document["kind"] == "Preflight" and document["apiVersion"] == "vmferry.dev/v1alpha1"
    assert document["readAt"] == "2026-03-02T12:00:00Z"
    assert document["request"] == {"type": "Auto", "stopIfRunning": False, "osUpgrade": False}
    assert document["summary"] == {"servers": 3, "ok": 1, "waits": 0, "blocked": 1, "unknown": 1, "exitStatus": 2}
    ok, locked, ghost = document["servers"]
    assert (ok["verdict"], ok["targetHost"], ok["reason"]) == ("OK", "host-b", "AllPassed")
    assert ok["eligibleTargets"][0] == {
        "host": "host-b",
        "rank": 1,
        "message": "6% of its memory taken after the move, 0 migrations on their way there",
    }
    assert (locked["verdict"], locked["reason"]) == ("Blocked", "Locked")
    assert next(p for p in locked["prerequisites"] if p["name"] == "ServerLock")["remedy"]
    assert (ghost["asked"], ghost["verdict"], ghost["reason"]) == ("ghost", "Unknown", "ServerNotFound")
    for one in document["servers"]:
        of_status = {k: v for k, v in one.items() if k not in ("asked", "verdict", "reason", "message")}
        assert set(VMMigrationStatus.model_validate(of_status).to_json()) - {"attempts"} == set(of_status)


def test_json_of_no_server_is_json() -> None:
    assert json.loads(rendered(Format.JSON))["servers"] == []


def test_junit_counts_failures_and_errors() -> None:
    root = ElementTree.fromstring(
        rendered(Format.JUNIT, server(name="web-1"), server(name="web-2", locked=True), missing="ghost")
    )
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    ok, locked, ghost = suite
    assert ok.find("failure") is None and ok.get("name") == f"web-1 ({ident('web-1')})"
    failure, error = locked.find("failure"), ghost.find("error")
    assert failure is not None and failure.get("type") == "Locked" and "remedy: ask its owner" in (failure.text or "")
    assert error is not None and error.get("message") == "no server is named ghost"


def clean(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


def hostile_fleet(text: str) -> dict[str, Any]:
    zone = {"service": service("host-b", zone=text, enabled=False, disabled_reason=text)}
    return {
        "servers": [
            server(name=text, locked=True, locked_reason=text),
            server(name=f"{text} 2", vm_state="error", status=text, fault=text, host=text),
        ],
        "hosts": [host("host-a"), host("host-b", **zone), host(text)],
    }


@pytest.mark.parametrize("format_", Format)
@examples(25)
# half a surrogate pair has no UTF-8, so the builders can make no id of it; `plain` is asked about it below
@given(text=st.just(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_no_text_of_the_cloud_steers_a_terminal_or_breaks_a_format(format_: Format, text: str) -> None:
    fleet = hostile_fleet(text)
    for servers in (fleet["servers"], fleet["servers"][:1]):
        report = rendered(format_, *servers, hosts=fleet["hosts"], missing=text)
        assert clean(report)
        report.encode("utf-8")
        if format_ is Format.JSON:
            json.loads(report)
        if format_ is Format.JUNIT:
            ElementTree.fromstring(report)
        if format_ in (Format.TABLE, Format.WIDE):
            assert len(report.splitlines()) == len(report.split("\n")) - 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        pytest.param(Terminal(), {"TERM": "xterm"}, True, id="a terminal has colours"),
        pytest.param(Terminal(), {"NO_COLOR": "1"}, False, id="unless NO_COLOR is set"),
        pytest.param(Terminal(), {"NO_COLOR": ""}, True, id="an empty NO_COLOR is none"),
        pytest.param(Terminal(), {"TERM": "dumb"}, False, id="a dumb terminal has none"),
        pytest.param(io.StringIO(), {}, False, id="a pipe has none"),
    ],
)
def test_colours(stream: io.StringIO, environment: dict[str, str], wanted: bool) -> None:
    assert wants_colour(stream, environment) is wanted


def test_colours_change_nothing_but_colour() -> None:
    fleet = [server(name="web-1"), server(name="web-2", locked=True)]
    coloured = rendered(Format.TABLE, *fleet, colour=True)
    assert "\x1b[31mBLOCKED Locked\x1b[0m" in coloured and "\x1b[32mOK -> host-b\x1b[0m" in coloured


def test_columns_reckon_with_wide_characters() -> None:
    assert columns([("日本", "x"), ("abcd", "y"), ("é", "z")]) == [["日本", "x"], ["abcd", "y"], ["é   ", "z"]]


def test_plain_is_one_printable_line() -> None:
    assert clean(plain(HOSTILE)) and "\n" not in plain(HOSTILE)
    assert plain("a\ud800b") == "a b"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("vmferry.cli.terminal.time.monotonic", clock)
    return clock


def test_progress_in_a_log_is_a_line_every_few_seconds(clock: Clock) -> None:
    err = io.StringIO()
    progress = Progress(err)
    for second in range(12):
        clock.now = 100.0 + second
        progress.show(f"{second} of 12")
    progress.clear()
    assert err.getvalue() == "5 of 12\n10 of 12\n"


def test_progress_on_a_terminal_is_one_line_that_goes_away(clock: Clock) -> None:
    err = Terminal()
    progress = Progress(err)
    for step in range(3):
        clock.now += 0.3
        progress.show(f"{step}")
    progress.clear()
    assert err.getvalue() == "\r\x1b[2K0\r\x1b[2K1\r\x1b[2K2\r\x1b[2K"


def test_quiet_shows_no_progress(clock: Clock) -> None:
    err = Terminal()
    progress = Progress(err, quiet=True)
    clock.now += 60
    progress.show("something")
    progress.clear()
    assert err.getvalue() == ""
