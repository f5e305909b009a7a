"""Under which licences the run-time packages may be."""

from __future__ import annotations

from importlib.metadata import Distribution

#: SPDX. They ask for no more than that their texts, and the source of changed files (MPL), go along.
ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense"}
)
#: what authors write instead of the SPDX identifier
_SPELLINGS = {"Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "BSD 3-Clause": "BSD-3-Clause"}


def of(package: Distribution) -> str:
    """The SPDX expression that a package's own metadata declares; empty where it declares none that can be read."""
    headers = package.metadata.json
    told = str(headers.get("license_expression") or headers.get("license") or "")
    told = _SPELLINGS.get(told.strip(), told.strip())
    return told if "\n" not in told and len(told) < 80 else ""


def allowed(expression: str) -> bool:
    """Whether one of the alternatives is made of allowed licences only. What is more complicated than that is not."""
    return any(all(part in ALLOWED for part in one.split(" AND ")) for one in expression.split(" OR "))
