"""Whatever objects and arguments hold: no traceback, an exit status, and nothing that steers a terminal."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from testbed.build import NOW, ident
from testbed.kubernetes.structural import Schema, admitted, schema
from tests.cli.ferry.bodies import FakeKube, Run, attempt, hm, prerequisite, stalled, vmm
from tests.examples import examples
from vmferry.cli.ferry import main as process
from vmferry.cli.ferry.arguments import parser
from vmferry.cli.ferry.completion import candidates
from vmferry.cli.ferry.kube import FerryError, refusal
from vmferry.cli.ferry.outcome import read
from vmferry.cli.ferry.output import Output, printed
from vmferry.cli.ferry.views import overview, page
from vmferry.cli.ferry.views.frame import frame, line
from vmferry.cli.plain_errors import LONGEST
from vmferry.cli.terminal import Paint
from vmferry.cli.uninstall_check import report
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kube_api import Body

#: what the plug-in itself writes: colours, and the way back to a frame's first line
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]+F\x1b\[J")
HOSTILE = "\x1b[2J\x1b]0;pwned\x07\x9b31m web\r\b\0\x7f\u202e\u2066\u2028\n- x: {\"'\t\U000e0001"
WORDS = (HOSTILE, "", " ", "\x1b[31m", "x" * 60, "日本" * 20, "a\nb", "{{x}}", "%s%n", "\u0301", "\r\x1b[K")
# half a surrogate pair is refused as a whole, see PAGES
TEXT = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", HOSTILE, "\ud800", 0, -1, 2**63, 1e308, True, [], [None], [[]], {}, {"x": 1}, [{}], {HOSTILE: 1}]
)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
PLAIN = Paint(False)
CHEAP = examples(20, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def clean(text: str) -> None:
    bare = OURS.sub("", text).replace("\n", "")
    assert bare.isprintable(), (sorted({char for char in bare if not char.isprintable()}), text[:300])


def words(path: str, node: Schema) -> st.SearchStrategy[Any] | None:
    """The schema's own limits of a text are those of our operator; a broken one keeps to none."""
    if node.get("format") == "date-time":
        return st.sampled_from(["2026-03-02T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
    return None


def loosened(node: Schema, path: str = "") -> st.SearchStrategy[Any]:
    """Like `admitted`, with any text where the schema has one that is not for programs."""
    if node["type"] == "object" and "properties" in node:
        known = {name: loosened(inner, f"{path}.{name}") for name, inner in node["properties"].items()}
        must = {name: known[name] for name in node.get("required", ())}
        return st.fixed_dictionaries(must, optional={name: s for name, s in known.items() if name not in must})
    if node["type"] == "array":
        return st.lists(loosened(node["items"], f"{path}[]"), max_size=2)
    if path.endswith("conditions[].type"):
        return st.sampled_from(["Ready", "Stalled", "Succeeded", "PrerequisitesMet", "Cordoned", "Reconciling"])
    if path.endswith("conditions[].status"):
        return st.sampled_from(["True", "False", "Unknown"])
    if path.endswith("conditions[].reason"):
        return st.sampled_from(["Draining", "LeftDisabled", "FactUnknown", "HostNotFound", "X"])
    if node["type"] == "string" and "enum" not in node and "pattern" not in node and "format" not in node:
        return TEXT
    return admitted(node, words, path)


STATUSES = {
    kind: loosened(schema(plural)["properties"]["status"], "status")
    for kind, plural in (("VMMigration", "vmmigrations"), ("HostMaintenance", "hostmaintenances"))
}


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Body, Body]:
    """A migration and a maintenance; what the operator wrote is often broken, what Kubernetes checks is not."""
    text = draw(TEXT)
    # the schema refuses control characters in a spec; all else that steers a terminal it admits
    admitted_text = CONTROL.sub("", text) or "x"
    spec = {"server": {"name": admitted_text, "project": admitted_text}, "target": {"host": "h[2J\u202e"}}
    migration = vmm({}, spec=draw(st.sampled_from([spec, {}])))
    maintenance = hm({}, spec={"host": "cmp1", "reason": admitted_text, "target": {"host": "cmp1\u202e"}})
    for body in (migration, maintenance):
        body["status"] |= draw(STATUSES[body["kind"]])
        body["status"]["observedGeneration"] = 1
        body["metadata"]["annotations"] = {"note": text}
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            spoil(draw, body["status"])
        if draw(st.integers(0, 20)) == 0:
            body["status"] = draw(JUNK)
    return migration, maintenance


def spoil(draw: st.DrawFn, node: Any) -> None:
    """Something else somewhere in it, or nothing."""
    places = [
        (holder, key)
        for holder in inner(node)
        for key in (holder if isinstance(holder, dict) else range(len(holder)))
    ]  # fmt: skip
    if places:
        holder, key = draw(st.sampled_from(places))
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = copy.deepcopy(draw(JUNK))


def inner(node: Any) -> list[Any]:
    if not isinstance(node, dict | list):
        return []
    return [node, *(found for one in (node.values() if isinstance(node, dict) else node) for found in inner(one))]


LOOKS = (
    "why web-1", "why cmp1", "status web-1", "status cmp1", "status", "status -A -o wide", "status -A -o yaml",
    "status -A -o json", "status -A -o name", "targets --migration web-1", "cancel web-1 -y", "release cmp1",
    "release cmp1 --delete", "drain cmp1", "drain cmp1 --watch --wait-timeout 1s",
    "release cmp1 --wait --wait-timeout 1s",
)  # fmt: skip


@CHEAP
@given(bodies(), st.booleans())
def test_no_object_breaks_a_command_or_steers_a_terminal(both: tuple[Body, Body], terminal: bool) -> None:
    for look in LOOKS:
        run = Run(look, FakeKube(*copy.deepcopy(both)), terminal=terminal)
        assert run.status in (0, 1, 2)
        for text in (run.said, run.err.getvalue(), run.error):
            clean(text)
        if look.endswith("json"):
            assert json.loads(run.said)["items"] == [both[1], both[0]], "escaped, not changed"


def test_yaml_is_escaped_and_not_changed() -> None:
    body = vmm(EVIL, spec={"server": {"name": f"{HOSTILE}\u00e9", "project": "p"}})
    said = Run("status -A -o yaml", FakeKube(body)).said
    clean(said)
    assert yaml.safe_load(said)["items"] == [body]
    assert "\u00e9" in Run("status -A -o yaml", FakeKube(vmm(spec={"server": {"name": "\u00e9"}}))).said, "as it was"


@CHEAP
@given(bodies(), TEXT)
def test_no_object_breaks_a_page_or_a_frame_or_a_line_of_a_log(both: tuple[Body, Body], name: str) -> None:
    for body in both:
        body["metadata"] |= {"name": name, "namespace": name if body["kind"] == "VMMigration" else ""}
        try:
            obj = read(body)
        except FerryError as error:
            clean(str(error))
            continue
        shown = [line(obj), *frame(obj, NOW), *page.why(obj, PLAIN), *page.details(obj, PLAIN)]
        shown += overview.overview([obj], NOW, PLAIN, wide=True, where="")
        if isinstance(obj, VMMigration):
            shown += page.targets(obj, PLAIN)
        assert not any("\n" in one for one in shown), "a line is a line"
        clean("\n".join(shown))
    clean(printed(both, Output.NAME))


def test_many_of_these_objects_are_understood() -> None:
    """Or the tests above would show little."""
    understood: list[bool] = []

    @CHEAP
    @given(bodies())
    def look(both: tuple[Body, Body]) -> None:
        for body in both:
            try:
                read(body)
            except FerryError:
                understood.append(False)
            else:
                understood.append(True)

    look()
    assert sum(understood) > len(understood) / 5, (sum(understood), len(understood))


@CHEAP
@given(bodies())
def test_no_object_breaks_the_check_before_an_uninstall(both: tuple[Body, Body]) -> None:
    clean("\n".join(report(both)))


EVIL = {"phase": HOSTILE, "conditions": stalled("Locked", HOSTILE)}
#: English sentence: command, object, a part of what is said
PAGES: dict[str, tuple[str, Body, str]] = {
    "a phase that nobody knows": ("why web-1", vmm(EVIL), "field status.phase that this program does not understand"),
    "a message that is no Unicode": ("why web-1", vmm({"conditions": stalled("X", "\ud800")}), "conditions.0.message"),
    "the name of a server": (
        "why cmp1",
        hm({"conditions": stalled("X"), "blockers": [{
            "server": ident("x"), "name": HOSTILE, "prerequisite": HOSTILE, "reason": HOSTILE, "message": HOSTILE,
            "remedy": HOSTILE,
        }]}),
        "1. [2J ]0;pwned 31m web - x",
    ),
    "a message and a remedy": (
        "why web-1",
        vmm({"conditions": stalled("Locked", HOSTILE),
             "prerequisites": [prerequisite("ServerLock", reason=HOSTILE, remedy=HOSTILE, host=HOSTILE)]}),
        "remedy    [2J ]0;pwned",
    ),
    "an attempt": (
        "status web-1",
        vmm({"conditions": stalled("X"), "attempts": [attempt(HOSTILE, message=HOSTILE, sourceHost=HOSTILE)]}),
        "[2J ]0;pwned",
    ),
    "an object with neither status nor conditions": ("why web-1", vmm(), "has not looked at it yet"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", PAGES)
def test_a_page_of_hostile_words_still_says_what_is_known(sentence: str) -> None:
    command, body, said = PAGES[sentence]
    run = Run(command, FakeKube(body))
    clean(run.said + run.error)
    assert said in run.said + run.error


def test_the_commands_that_a_page_proposes_hold_no_control_characters() -> None:
    status = {
        "conditions": stalled("Locked"),
        "prerequisites": [prerequisite("ServerLock", reason="Locked")],
        "ineligibleTargets": [{"reason": "HostDown", "hosts": 1, "example": "h"}],
    }
    obj = read(vmm(status, name=HOSTILE))
    why, details = page.why(obj, PLAIN), page.details(obj, PLAIN)
    clean("\n".join([*why, *details]))
    assert any("kubectl ferry targets --migration" in one for one in why) and "kubectl ferry why" in details[-1]


def test_one_object_that_is_not_understood_hides_no_other() -> None:
    newer = vmm({"conditions": "none"}, name="newer")
    run = Run("status", FakeKube(newer, vmm(name="older")))
    assert (run.status, "migrations/older" in run.said, "newer" in run.said) == (2, True, False)
    assert "note: VMMigration newer has a field status.conditions that this program does not" in run.err.getvalue()


@CHEAP
@given(st.sampled_from([400, 401, 403, 404, 409, 422, 500, 503, 299]), JUNK | st.dictionaries(
    st.sampled_from(["message", "reason", "details", "kind", "name", "causes"]), JUNK | TEXT))  # fmt: skip
def test_no_answer_of_a_server_breaks_its_refusal(code: int, answer: Any) -> None:
    for words_ in (json.dumps(answer), HOSTILE, b"\xff", None):
        clean(str(refusal("get VMMigration a/b", code, words_)))


# ---- arguments

ABSURD = {
    "empty": "", "a space": " ", "hostile": HOSTILE.replace("\0", ""), "no UTF-8": "\udcff\udc9b",
    "huge": "a" * 100_000, "digits": "9" * 5000, "a dash": "-", "two": "--", "negative": "-1",
}  # fmt: skip
COMMANDS: tuple[Callable[[str], list[str]], ...] = (
    lambda x: [x],
    lambda x: ["live", x],
    lambda x: ["live", f"p/{x}", "--dry-run=client"],
    lambda x: ["live", "n", "--project", x, "--dry-run=client"],
    lambda x: ["move", "p/n", "--name", x, "--dry-run=client"],
    lambda x: ["move", "p/n", "--host", x, "--dry-run=client"],
    lambda x: ["move", "p/n", "--timeout", x],
    lambda x: ["move", "p/n", "--priority", x],
    lambda x: ["drain", x, "--dry-run=client"],
    lambda x: ["drain", "h", "--max-parallel", x, "--dry-run=client"],
    lambda x: ["drain", "h", "--reason", x, "--dry-run=client"],
    lambda x: ["drain", "h", "--target", x, "--dry-run=client"],
    lambda x: ["release", x, "--dry-run=client"],
    lambda x: ["status", x],
    lambda x: ["status", x, x],
    lambda x: ["status", f"--{x}"],
    lambda x: ["status", "-o", x],
    lambda x: ["status", "-n", x],
    lambda x: ["status", "--context", x],
    lambda x: ["status", "--kubeconfig", x],
    lambda x: ["why", x],
    lambda x: ["cancel", x, "--yes"],
    lambda x: ["targets", "--migration", x],
    lambda x: ["targets", "p/n", "--type", x],
    lambda x: ["completion", x],
)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("absurd", ABSURD)
def test_no_argument_ends_in_a_traceback(absurd: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        words = command(ABSURD[absurd])
        try:
            code = process._run(words)
        except SystemExit as error:
            code = int(error.code or 0)
        out, err = capsys.readouterr()
        clean(out + err)
        assert "Traceback" not in err and "a fault of" not in err, words
        if code == 0:
            assert yaml.safe_load(out)["kind"] and not err, "a manifest"
            continue
        *_, last = err.splitlines()
        assert code == 2 and re.match("Error: |kubectl ferry( [a-z]+)?: error: ", last), (words, err[-200:])
        assert not out and len(last) <= LONGEST + 4096


def test_completion_offers_no_name_that_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: Body = {"kind": "HostMaintenance", "metadata": {"name": "broken"}}
    for kube, offered in ((FakeKube(hm(spec={"host": HOSTILE})), ["cmp1"]), (FakeKube(broken), [])):
        monkeypatch.setattr(process, "_connect", lambda *_: kube)  # noqa: B023
        assert list(candidates(["drain", ""], parser(), process._names)) == offered
