"""One file for `kubectl apply`: the CRDs and manifests/operator/, without the example of a Secret."""

from __future__ import annotations

from pathlib import Path

import yaml

#: kinds in an order that respects their dependencies
_ORDER: tuple[str, ...] = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
)
_NOT_FOR_A_CLUSTER = ("kustomization.yaml", "example-clouds-secret.yaml")

HEAD = """\
# vmferry {version}: definitions, rights, configuration and operator. Set the image, and create the cloud's Secret:
#   kubectl create secret generic vmferry-cloud -n vmferry-system --from-file=clouds.yaml
"""


def bundle(root: Path, version: str) -> str:
    """The content of the file, with comments. Raises KeyError for a kind that is missing in `_ORDER`."""
    found: list[tuple[int, str, str]] = []
    sources = [*(root / "crds").glob("*.yaml"), *(root / "manifests" / "operator").glob("*.yaml")]
    for path in sources:
        if path.name in _NOT_FOR_A_CLUSTER:
            continue
        for text in ("\n" + path.read_text(encoding="utf-8")).split("\n---\n"):
            body = yaml.safe_load(text)
            if body is None:
                continue
            if body["kind"] not in _ORDER:
                raise KeyError(f"{path.name}: where does a {body['kind']} stand in install.yaml?")
            found.append((_ORDER.index(body["kind"]), body["metadata"]["name"], text.strip() + "\n"))
    return HEAD.format(version=version) + "".join(f"---\n{text}" for _, _, text in sorted(found))
