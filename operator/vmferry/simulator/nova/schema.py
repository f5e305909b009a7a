"""Validation of request bodies, with the messages of Nova's JSON schemas."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vmferry.simulator.errors import BadRequestError

TRUE = (True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t")
FALSE = (False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f")
BOOLEAN = (*TRUE, *FALSE)
_METADATA_KEY = "^[a-zA-Z0-9-_:. ]{1,255}$"


def invalid(field: str, value: Any, message: str) -> BadRequestError:
    return BadRequestError(f"Invalid input for field/attribute {field}. Value: {value}. {message}")


def check_object(
    field: str,
    value: Any,
    *,
    required: Collection[str] = (),
    optional: Collection[str] = (),
    nullable: bool = False,
) -> Mapping[str, Any]:
    """Require an object with these keys and no others. With `nullable`, None counts as empty. Raises
    BadRequestError."""
    if value is None and nullable:
        return {}
    if not isinstance(value, dict):
        kinds = "'object', 'null'" if nullable else "'object'"
        raise invalid(field, value, f"{value!r} is not of type {kinds}")
    for name in required:
        if name not in value:
            raise invalid(field, value, f"{name!r} is a required property")
    unknown = [name for name in value if name not in required and name not in optional]
    if unknown:
        names = ", ".join(repr(name) for name in unknown)
        verb = "was" if len(unknown) == 1 else "were"
        raise invalid(field, value, f"Additional properties are not allowed ({names} {verb} unexpected)")
    return value


def one_of(field: str, value: Any, choices: Collection[Any]) -> Any:
    # 1 == True in Python, but not in JSON.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise invalid(field, value, f"{value!r} is not one of {list(choices)}")
    return value


def boolean(field: str, value: Any) -> bool:
    return one_of(field, value, BOOLEAN) in TRUE


def metadata_of_server(value: Any) -> dict[str, str]:
    """Validate metadata: keys match `_METADATA_KEY`, values are strings. Raises BadRequestError."""
    entries = check_object("metadata", value, optional=tuple(value or ()))
    odd = [name for name in entries if not re.match(_METADATA_KEY, name)]
    if odd:
        names, verb = ", ".join(repr(name) for name in odd), "does" if len(odd) == 1 else "do"
        raise invalid("metadata", value, f"{names} {verb} not match any of the regexes: '{_METADATA_KEY}'")
    for entry in entries.values():
        text("metadata", entry)
    return dict(entries)


def text(
    field: str, value: Any, *, nullable: bool = False, shortest: int = 0, longest: int | None = None
) -> str | None:
    if value is None and nullable:
        return None
    if not isinstance(value, str):
        kinds = "'string', 'null'" if nullable else "'string'"
        raise invalid(field, value, f"{value!r} is not of type {kinds}")
    if len(value) < shortest:
        raise invalid(field, value, f"{value!r} {'should be non-empty' if shortest == 1 else 'is too short'}")
    if longest is not None and len(value) > longest:
        raise invalid(field, value, f"{value!r} is too long")
    return value
