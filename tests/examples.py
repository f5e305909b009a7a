"""On how many examples a property is tried: all of them in `make test`, a tenth of them in `make test-unit`."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

#: what `make test` gives pytest with --hypothesis-profile
THOROUGH = "thorough"


def examples(number: int, **more: Any) -> settings:
    """For a test that has `number` examples in `make test`; `more` is for hypothesis."""
    thorough = settings.get_current_profile_name() == THOROUGH
    return settings(max_examples=number if thorough else max(number // 10, 5), deadline=None, **more)
