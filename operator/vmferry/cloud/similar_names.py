"""Suggestions for a name that the cloud does not know. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Known names that differ from `name` only in case, in their domain, or by `_` for `-`; at most three.

    They are hints for people and select nothing: hosts are used by their exact names (I1).
    """
    wanted = _short(name)
    return sorted(one for one in known if _short(one) == wanted)[:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put before a remedy; empty if no name is similar."""
    found = similar_names(name, known)
    return f"did you mean {' or '.join(found)}? " if found else ""


def _short(name: str) -> str:
    """The name without its domain. Names that begin with a number stay whole: 10.0.0.1 and 10.0.0.2 are not similar."""
    text = name.strip().lower().replace("_", "-")
    first, _, rest = text.partition(".")
    return text if first.isdigit() or not rest else first
