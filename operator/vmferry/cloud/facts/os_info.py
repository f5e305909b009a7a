"""An operating system's distribution and version out of the free text that people and agents write. Pure.

Ubuntu 22.04.5 LTS                       -> Ubuntu 22.04
('Ubuntu', '22.04', 'jammy')             -> Ubuntu 22.04
Red Hat Enterprise Linux 9.4 (Plow)      -> Red Hat Enterprise Linux 9.4
"""

from __future__ import annotations

import re

from vmferry.cloud.model import OperatingSystem

#: how a distribution is recognised; its name; how many numbers of its version decide (the rest are point releases)
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
#: a name, at most some words, and the first number after it; a kernel's version or an architecture is none
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


def operating_system(text: str | None) -> OperatingSystem | None:
    """None: the text names no distribution that we know, no version, or more than one distribution."""
    clean = _NOISE.sub(" ", (text or "").lower()).strip()
    found: set[OperatingSystem] = set()
    for pattern, name, parts in _FOUND:
        for match in pattern.finditer(clean):
            numbers = match[1].split(".")
            if len(numbers) >= parts:
                found.add(OperatingSystem(name, ".".join(numbers[:parts])))
    return found.pop() if len(found) == 1 else None
