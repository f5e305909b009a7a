"""Type checks of parsed data, since JSON may contain any type anywhere.

Deciding code trusts the types of the model. A null instead of a text would otherwise raise an exception much later, in
the reconcile of some resource; here it fails the read, with the name of the field.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

#: the largest integer that Kubernetes accepts
_LARGEST = 2**63 - 1

_Check = Callable[[Any], bool]


def check(parsed: object) -> None:
    """Raises ValueError with the name of the first wrongly typed field of a dataclass, or of those in a list."""
    if isinstance(parsed, list | tuple):
        for item in parsed:
            check(item)
    elif dataclasses.is_dataclass(parsed) and (wrong := _wrong(type(parsed), parsed)) is not None:
        raise ValueError(f"its {wrong} is of a wrong type or size")


def _wrong(cls: Any, parsed: object) -> str | None:
    """The name of the first field with a wrong type, or None."""
    plain, others = _fields(cls)
    for name, allowed in plain:
        value = getattr(parsed, name)
        if type(value) not in allowed or (type(value) is int and not -_LARGEST <= value <= _LARGEST):
            return name
    return next((name for name, fits in others if not fits(getattr(parsed, name))), None)


@cache
def _fields(cls: Any) -> tuple[list[tuple[str, frozenset[type]]], list[tuple[str, _Check]]]:
    """Fields whose values have one of a few exact types, and fields whose contents must be checked."""
    plain, others = [], []
    for name, hint in get_type_hints(cls).items():
        choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        if any(get_origin(choice) or dataclasses.is_dataclass(choice) for choice in choices):
            others.append((name, _check(hint)))
        else:
            plain.append((name, frozenset(choices)))
    return plain, others


def _check(hint: Any) -> _Check:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        several = [_check(choice) for choice in inner]
        return lambda value: any(fits(value) for fits in several)
    if origin in (tuple, frozenset):
        each = _check(inner[0])
        return lambda value: isinstance(value, origin) and all(map(each, value))
    if origin is not None and issubclass(origin, Mapping):
        key, item = map(_check, inner)
        return lambda value: isinstance(value, Mapping) and all(key(k) and item(v) for k, v in value.items())
    if dataclasses.is_dataclass(hint):
        return lambda value: type(value) is hint and _wrong(hint, value) is None
    if hint is int:
        return lambda value: type(value) is int and -_LARGEST <= value <= _LARGEST
    return lambda value: isinstance(value, hint)


__all__ = ["check"]
