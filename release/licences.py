"""The allowed licences of run-time dependencies."""

from __future__ import annotations

from importlib.metadata import Distribution

#: SPDX identifiers. These licences require only that their texts, and the source of changed files (MPL), are included.
ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense"}
)
#: other spellings of SPDX identifiers in package metadata
_SPELLINGS = {"Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "BSD 3-Clause": "BSD-3-Clause"}


def of(package: Distribution) -> str:
    """The SPDX expression in a package's metadata; empty without a readable one."""
    headers = package.metadata.json
    told = str(headers.get("license_expression") or headers.get("license") or "")
    told = _SPELLINGS.get(told.strip(), told.strip())
    return told if "\n" not in told and len(told) < 80 else ""


def allowed(expression: str) -> bool:
    """Whether an alternative consists of allowed licences only. Expressions with parentheses are not supported."""
    return any(all(part in ALLOWED for part in one.split(" AND ")) for one in expression.split(" OR "))
