"""Parses constraints.txt, the pinned versions of all installed packages."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


class PinError(ValueError):
    """A line that is not a pin with hashes; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A version of a package, and the SHA-256 of each of its distributions, of which any may be installed."""

    name: str
    version: str
    sha256: tuple[str, ...]


def canonical(name: str) -> str:
    """The normalized name of a package, as the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(text: str) -> dict[str, Pin]:
    """Parse pins by canonical name. Raises PinError for an invalid line, a pin without a hash, and a repeated name."""
    found: dict[str, Pin] = {}
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    for line in lines:
        if not line or line.startswith("#"):
            continue
        head, *_ = line.split()
        match, hashes = _PIN.match(head), tuple(sorted(_HASH.findall(line)))
        if match is None or not hashes or line.split() != [head, *(w for w in line.split() if _HASH.fullmatch(w))]:
            raise PinError(f"not a version with hashes: {line[:80]}")
        pin = Pin(canonical(match[1]), match[2], hashes)
        if pin.name in found:
            raise PinError(f"pinned twice: {pin.name}")
        found[pin.name] = pin
    return found
