"""Builds the control plane (see main.go) and helm into the cache folder, unless they are up to date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from testbed.golang import Module, numbers

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
HELM = "helm.sh/helm/v3"


def _reported(versions: Mapping[str, str]) -> dict[str, str]:
    """The versions that the programs report, which charts depend on."""
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor = numbers(kubernetes)[:2]
    values = {f"{HELM}/internal/version.version": versions[HELM]}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        values |= {
            f"{package}.gitVersion": kubernetes,
            f"{package}.gitMajor": str(major),
            f"{package}.gitMinor": str(minor),
            f"{package}.gitTreeState": "clean",
        }
    for package in (f"{HELM}/pkg/lint/rules", f"{HELM}/pkg/chartutil"):
        values |= {f"{package}.k8sVersionMajor": str(major), f"{package}.k8sVersionMinor": str(minor)}
    return values


MODULE = Module(
    name="kubernetes",
    source=Path(__file__).resolve().parent,
    programs=f"{', '.join(PROGRAMS)} and helm",
    packages=(".", f"{HELM}/cmd/helm"),
    patience="5 to 10 minutes",
    variables=_reported,
    links=PROGRAMS,
)


def install() -> Path:
    """Return the folder with `PROGRAMS` and `helm`; build them first if go.mod, go.sum or main.go changed.

    A first build leaves about 4 GB in the cache folder; later builds take seconds. Raises InstallError.
    """
    return MODULE.install()


if __name__ == "__main__":
    MODULE.main()
