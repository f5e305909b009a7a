"""Whatever the file holds: a Config or a ConfigError, clean, bounded, with the file's name and no secret in it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.examples import examples
from vmferry.runtime.config import Config, ConfigError, load, parse

CHEAP = examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECRET = "hunter2-is-secret"
LONGEST_MESSAGE = 25_000


def fields(model: Any, *path: str) -> list[tuple[str, ...]]:
    """Where each key of the configuration is."""
    found: list[tuple[str, ...]] = []
    for name, field in model.__pydantic_fields__.items():
        here = (*path, field.alias or name)
        inner = field.annotation
        found += [here, *(fields(inner, *here) if hasattr(inner, "__pydantic_fields__") else [])]
    return found


FIELDS = fields(Config)
#: fields with keys of the user's own
FREE = ("labels", "annotations")
TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["9999999999999h", "999999h999999m999999s", "-1s", "0s", "1e999", "\0", "\ud800", "\x1b[2J\u202e\r\n", "x" * 5000]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**4000, -(10**4000), 2**63, -1])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | st.binary(max_size=5)
KEYS = TEXT | st.sampled_from([name for path in FIELDS for name in path]) | st.integers() | st.none()
JUNK = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@st.composite
def configurations(draw: st.DrawFn) -> Any:
    """Known keys with anything, among unknown ones."""
    whole: dict[Any, Any] = draw(st.dictionaries(KEYS, JUNK, max_size=2))
    for path in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        place = whole
        for name in path[:-1]:
            inner = place.get(name)
            place[name] = inner = inner if isinstance(inner, dict) else {}
            place = inner
        place[path[-1]] = draw(JUNK)
    return whole


def nested(depth: int) -> Any:
    whole: Any = []
    for _ in range(depth):
        whole = [whole]
    return whole


def judged(error: ConfigError, source: str) -> None:
    message = str(error)
    assert len(message) <= LONGEST_MESSAGE
    for line in message.split("\n"):
        assert line.isprintable() and line.startswith(f"{source}: ") and len(line) > len(source) + 2, message[:500]


@CHEAP
@given(configurations() | JUNK)
def test_any_data_is_a_configuration_or_an_error_that_can_be_read(data: Any) -> None:
    try:
        parse(data, {})
    except ConfigError as error:
        judged(error, "configuration")


@CHEAP
@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from("{}[]&*!<>|:-?#%@'\" \n\t\0a1.é\ud800"), max_size=40).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    | configurations().map(lambda data: json.dumps(data, default=str, skipkeys=True).encode())
    | st.builds(lambda tag, text: f"workers: !!{tag} {text}".encode(),
                st.sampled_from(["int", "float", "bool", "timestamp", "binary", "set", "omap", "pairs", "null"]),
                st.text(st.sampled_from("0123456789-:.xeTZ+ "), max_size=12))
)  # fmt: skip
def test_any_file_is_a_configuration_or_an_error_that_can_be_read(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(raw)
    try:
        load(path, {})
    except ConfigError as error:
        judged(error, str(path))


BOMB = "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" if n else "- &a0 [x]\n" for n in range(30))
#: English sentence: the file, a part of the error
FILES: dict[str, tuple[bytes, str]] = {
    "no UTF-8": (b"cloud: \xff", "is not YAML: no UTF-8 at byte 7"),
    "UTF-16": ("cloud: {}".encode("utf-16"), "no UTF-8 at byte 0"),
    "a NUL": (b"cloud: \0", "is not YAML: unacceptable character"),
    "very deep": (b"[" * 1000, "is nested too deeply"),
    "deep below a known key": (b"resync: " + b"[" * 60 + b"]" * 60, "resync: a list is not a duration"),
    "a month that does not exist": (b"resync: 2020-99-99", "no good timestamp, line 1, column 9"),
    "a number with more digits than Python reads": (b"workers: " + b"9" * 5000, "no good int, line 1, column 10"),
    "a tag that its text does not fit": (b"workers: !!bool x", "no good bool, line 1"),
    "a tag that would run code": (
        b"cloud: !!python/object/apply:os.abort []",
        "could not determine a constructor for the tag, line 1, column 8",
    ),
    "lists of lists of lists for a duration": (
        f"x:\n{BOMB}resync: *a29".encode(), "resync: a list is not a duration",
    ),
    "a list that holds itself": (b"namespaces: &a [*a]", "namespaces[0]: Input should be a valid string"),
    "two documents": (b"cloud: {}\n---\ncloud: {}", "found another document, line 2"),
    "more than a ConfigMap holds": (b"#" * 1024 * 1024 + b"#", "is larger than 1 MiB"),
    "twenty thousand errors": (b"namespaces: [" + b"X," * 20000 + b"]", "and 19980 more"),
    "a NUL in a path": (b'kubeconfig: "/a\\0b"', "kubeconfig: must not contain a NUL"),
    "a NUL in an address": (b'health: {address: "a\\0b"}', "health.address: must be an IP address, the name"),
    "an address with a label that DNS does not take": (
        b"health: {address: " + b"a" * 64 + b"}", "health.address: must be an IP address, the name",
    ),
    "an address of nobody": (b'health: {address: ""}', "health.address: must be an IP address, the name"),
    "a key that steers a terminal": (b'"\\e[2J": 1', r"'\x1b[2J': no such key"),
    "a key that cannot be seen": (b'cloud: {"\\u202e": 1}', r"cloud.'\u202e': no such key"),
    "an empty key": (b'cloud: {"": 1}', "cloud.'': no such key"),
    "a duration longer than any": (b"resync: 9999999999999h", "resync: '9999999999999h' is not a duration"),
    "a duration of a century": (b"policy: {hostDownFor: 999999h}", "policy.hostDownFor: must be at most 8784h"),
    "one that is doubled with each attempt": (b"policy: {retryBackoff: 25h}", "retryBackoff: must be at most 24h"),
    "one that is multiplied by GiB": (b"policy: {timeoutPerGiB: 25h}", "timeoutPerGiB: must be at most 24h"),
    "more at once than there are servers": (b"policy: {limits: {total: 1000001}}", "total: must be at most 1000000"),
    "a duration that is a novel": (b"resync: " + b"a" * 90000, "resync: '" + "a" * 64 + "…' is not a duration"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", FILES)
def test_a_hostile_file_is_told_what_is_wrong_with_it(sentence: str, tmp_path: Path) -> None:
    raw, said = FILES[sentence]
    path = tmp_path / "config.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    judged(caught.value, str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize("depth", [50, 800, 20_000])
def test_no_depth_is_too_much(depth: int) -> None:
    for data in ({"resync": nested(depth)}, {"namespaces": nested(depth)}, {"policy": {"x": nested(depth)}}):
        with pytest.raises(ConfigError) as caught:
            parse(data, {})
        judged(caught.value, "configuration")


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
def test_a_number_that_python_cannot_print_is_told(field: tuple[str, ...]) -> None:
    data: Any = 10**5000
    for name in reversed(field):
        data = {name: data}
    with pytest.raises(ConfigError, match=field[-1]) as caught:
        parse(data, {})
    judged(caught.value, "configuration")


@pytest.mark.parametrize("address", ["*", "0.0.0.0", "::", "fe80::1%eth0", "localhost", "vmferry.example.org"])
def test_addresses_that_can_be_listened_on(address: str) -> None:
    assert parse({"health": {"address": address}}, {}).health.address == address


def test_the_longest_durations_stay_within_the_calendar() -> None:
    policy = parse({"policy": {"retryBackoff": "24h", "timeoutPerGiB": "24h", "timeoutBase": "8784h"}}, {}).policy
    assert policy.retry_backoff * 2**20 + policy.timeout_per_gib * 500_000 < timedelta(days=365 * 5000)


@pytest.mark.parametrize("path", ["/nowhere/\0", "/nowhere/\udcff", "/nowhere/" + "a" * 5000, "/nowhere/\x1b[2J\n", ""])
def test_a_path_that_is_none_is_told(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Path(path), {})
    assert "cannot be read: " in str(caught.value) and str(caught.value).isprintable()


#: how a password gets into a configuration, which has no place for one
LEAKS = (
    "password: {}", "cloud: {{password: {}}}", "cloud: {{auth: {{password: {}}}}}", "password: *{}", "password: !{}",
    "password: !{}! x", "password: !!{} x", "password: '{}", "password: {}: x", "password: &{} &b c", "password: |{}",
    "resync: {{password: {}}}", "policy: {{tolerateUnknown: {{secret: {}}}}}", "policy: {{limits: [token, {}]}}",
    "policy: {{operatingSystems: [{{system: {{password: {}}}, hosts: [a]}}]}}", "password: !!int {}",
    "password: \"{}\n", "password: @{}", "password: `{}", "password: %{}", "password: - {}",
    "namespaces: [{{token: {}}}]",
)  # fmt: skip


@pytest.mark.parametrize("text", LEAKS)
def test_the_value_of_a_secret_looking_key_is_not_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text.format(SECRET))
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    judged(caught.value, str(path))
    assert SECRET not in str(caught.value) and "hunter2" not in str(caught.value)


@CHEAP
@given(
    st.sampled_from([*(path for path in FIELDS if path[-1] not in FREE), ("x",)]),
    st.sampled_from(["password", "adminToken", "client_secret"]),
)
def test_nor_anywhere_in_the_place_of_a_known_key(field: tuple[str, ...], key: str) -> None:
    data: Any = {key: SECRET}
    for name in reversed(field):
        data = {name: data}
    with pytest.raises(ConfigError) as caught:
        parse(data, {})
    assert SECRET not in str(caught.value)
