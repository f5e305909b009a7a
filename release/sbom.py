"""The bill of materials at run time: the package and its dependencies, as CycloneDX JSON.

The packages of the base image are not included, because they are determined where the image is built.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from release import licences
from release.closure import Closure
from release.pins import Pin

#: a component has the hashes of all distributions of its version, of which one was installed
HASHES = Property(name="vmferry:hashes", value="any one of the distributions of this version")


class SbomError(RuntimeError):
    """An installed version differs from its pin, or declares no licence."""


def sbom(
    name: str, version: str, licence: str, wheel_sha256: str, found: Closure, pins: dict[str, Pin], at: int
) -> str:
    """Return the document, which depends only on the arguments. `at` is in seconds since the epoch. Raises
    SbomError."""
    wrong = []
    root = _component(name, version, licence, (wheel_sha256,), ComponentType.APPLICATION)
    components = {name: root}
    for key, package in found.installed.items():
        pin, told = pins.get(key), licences.of(package)
        if pin is None or pin.version != package.version:
            wrong.append(f"{key} {package.version} is installed, and constraints.txt pins {pin and pin.version}")
        elif not told:
            wrong.append(f"{key} {package.version} does not say its licence")
        else:
            components[key] = _component(key, pin.version, told, pin.sha256, ComponentType.LIBRARY)
    if wrong:
        raise SbomError("\n".join(wrong))
    bom = Bom(
        components=[one for one in components.values() if one is not root],
        metadata=BomMetaData(component=root, timestamp=datetime.fromtimestamp(at, UTC), properties=[HASHES]),
        serial_number=uuid5(NAMESPACE_OID, f"{name} {version} {at} {wheel_sha256}"),
    )
    for key, component in components.items():
        bom.register_dependency(component, [components[one] for one in found.needs[key]])
    text: str = JsonV1Dot6(bom).output_as_string()
    return json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _component(name: str, version: str, licence: str, sha256: tuple[str, ...], kind: ComponentType) -> Component:
    url = PackageURL("pypi", None, name, version)
    made = LicenseFactory().make_from_string(licence, license_acknowledgement=LicenseAcknowledgement.DECLARED)
    if isinstance(made, DisjunctiveLicense) and made.id is None:
        raise SbomError(f"{name} {version}: {licence} is no SPDX expression")
    return Component(
        name=name,
        version=version,
        type=kind,
        bom_ref=str(url),
        purl=url,
        licenses=[made],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in sha256],
    )
