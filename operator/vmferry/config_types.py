"""Types of values in the configuration, with their bounds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue

from vmferry.resources.base import Duration, format_duration

#: of every section: camelCase keys, no unknown ones
SECTION = ConfigDict(alias_generator=to_camel, extra="forbid", validate_by_name=True)

#: the longest duration
LONGEST = timedelta(days=366)
#: the largest count
MOST = 1_000_000


def doc(description: str) -> Any:
    """What a key means, for the reference in docs/."""
    return Field(description=description)


def positive(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return span


def within_a_day(span: timedelta) -> timedelta:
    """A tighter bound for durations that get multiplied, by GiB or by attempt."""
    if span > timedelta(days=1):
        raise ValueError("must be at most 24h")
    return span


def _within_the_calendar(span: timedelta) -> timedelta:
    """A moment plus this span must still be a date."""
    if span > LONGEST:
        raise ValueError(f"must be at most {format_duration(LONGEST)}")
    return span


def _printable(count: int) -> int:
    """Counts stand in messages, and Python does not print thousands of digits."""
    if count > MOST:
        raise ValueError(f"must be at most {MOST}")
    return count


def _no_nul(path: Path) -> Path:
    """No file system takes a NUL, and Python raises a bare ValueError for it."""
    if "\0" in str(path):
        raise ValueError("must not contain a NUL character")
    return path


class _AsList:
    """A set that is written as a list, which may repeat itself."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        node = handler(schema)
        del node["uniqueItems"]
        return node


AS_LIST = _AsList()
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Namespace = ObjectName
Span = Annotated[Duration, AfterValidator(_within_the_calendar)]
Count = Annotated[int, Field(ge=1), AfterValidator(_printable)]
File = Annotated[Path, AfterValidator(_no_nul)]
Hosts = Annotated[frozenset[str], AS_LIST, doc("Names of compute service hosts.")]
Aggregates = Annotated[frozenset[str], AS_LIST, doc("Names of host aggregates: all their hosts.")]
