"""Several operators in one cluster: the label `vmferry.dev/class` selects the operator of an object.

The API server applies the selector to lists and watches, so an operator never receives the objects of another operator.
"""

from __future__ import annotations

from vmferry.reconcilers.owned import CLASS


def selector(class_: str | None) -> str:
    """The label selector of an operator's objects. An operator without a class serves objects without that label."""
    return f"!{CLASS}" if class_ is None else f"{CLASS}={class_}"
