"""Several operators in one cluster: the label `vmferry.dev/class` says which one an object is for.

The API server selects, for lists and for watches alike: an operator never sees the objects of another one.
"""

from __future__ import annotations

from vmferry.reconcilers.owned import CLASS


def selector(class_: str | None) -> str:
    """The label selector of an operator's objects; without a class those that have no such label."""
    return f"!{CLASS}" if class_ is None else f"{CLASS}={class_}"
