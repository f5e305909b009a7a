"""Parsing of an operating system's distribution and version from free text by people and agents. Pure.

Ubuntu 22.04.5 LTS                       -> Ubuntu 22.04
('Ubuntu', '22.04', 'jammy')             -> Ubuntu 22.04
Red Hat Enterprise Linux 9.4 (Plow)      -> Red Hat Enterprise Linux 9.4
Garden Linux 1592.4                      -> Garden Linux 1592.4, equal only to the same text
"""

from __future__ import annotations

import re

from vmferry.cloud.model import OperatingSystem

#: pattern of a distribution; its name; how many numbers of its version are significant (the rest are point releases)
_DISTRIBUTIONS: tuple[tuple[str, str, int], ...] = (
    (r"ubuntu", "Ubuntu", 2),
    (r"debian(?: gnu/linux)?", "Debian", 1),
    (r"red hat enterprise linux(?: server)?|redhat|rhel", "Red Hat Enterprise Linux", 2),
    (r"centos stream", "CentOS Stream", 1),
    (r"centos(?: linux)?", "CentOS", 1),
    (r"rocky(?: linux)?", "Rocky Linux", 2),
    (r"alma ?linux", "AlmaLinux", 2),
    (r"oracle linux(?: server)?|ol", "Oracle Linux", 2),
    (r"fedora(?: linux)?", "Fedora", 1),
    (r"openeuler", "openEuler", 2),
    (r"photon os|vmware photon(?: os)?", "Photon OS", 1),
)
#: a name, a few optional words, and the first number after it; kernel versions and architectures do not match
_FOUND = tuple(
    (
        re.compile(
            rf"(?<![a-z0-9])(?:{pattern})(?:[ _-]?(?:linux|release|server|version|lts))*[ _-]?v?(\d+(?:\.\d+)*)"
        ),
        name,
        parts,
    )
    for pattern, name, parts in _DISTRIBUTIONS
)
_NOISE = re.compile(r"[\s\"'(),:=]+")


_KERNEL = re.compile(r"(?:gnu/)?linux(?: (?:kernel )?\d.*)?")
#: a distribution's name and nothing else
_NAMES = re.compile("|".join(f"(?:{pattern})(?: linux)?" for pattern, _, _ in _DISTRIBUTIONS))


def operating_system(text: str | None) -> OperatingSystem | None:
    """The system that the text names. None: it names none, or several, see `unreadable`.

    A known distribution is returned with the significant part of its version. Any other text is the name of an unknown
    system, which equals only itself and has an empty `OperatingSystem.version`.
    """
    found = _known(text)
    if len(found) == 1:
        return found.pop()
    if found or unreadable(text) is not None:
        return None
    return OperatingSystem(" ".join((text or "").split()), "")


def known_system(text: str | None) -> OperatingSystem | None:
    """Like `operating_system`, but only for known distributions."""
    found = _known(text)
    return found.pop() if len(found) == 1 else None


def unreadable(text: str | None) -> str | None:
    """Why the text names no operating system, or None if it names one."""
    found = _known(text)
    clean = _clean(text)
    if len(found) > 1:
        return f"it names several systems: {', '.join(sorted(map(str, found)))}"
    if not found and not any(letter.isalpha() for letter in clean):
        return "it names no distribution" if clean else "it is empty"
    if not found and _KERNEL.fullmatch(clean):
        return "it names a kernel, no distribution"
    if not found and _NAMES.fullmatch(clean):
        return "it names no version"
    return None


def _known(text: str | None) -> set[OperatingSystem]:
    clean = _clean(text)
    found: set[OperatingSystem] = set()
    for pattern, name, parts in _FOUND:
        for match in pattern.finditer(clean):
            numbers = match[1].split(".")
            if len(numbers) >= parts:
                found.add(OperatingSystem(name, ".".join(numbers[:parts])))
    return found


def _clean(text: str | None) -> str:
    return _NOISE.sub(" ", (text or "").lower()).strip()
