"""Objects that another tool would create again after a deletion, because a repository or release contains them.

A finished VMMigration that is deleted after its time and created again is a new request: it would move its server
again, every time. So objects marked by Argo CD, Flux, Helm and similar tools are never deleted for their age. A plain
`kubectl apply` may be a person's or a pipeline's: such an object is deleted only after a time that its own spec sets.
"""

from __future__ import annotations

from vmferry.resources.base import Metadata

#: annotation or label -> the tool that sets it
_MARKS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "app.kubernetes.io/instance": "Argo CD or Helm",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
    "applyset.kubernetes.io/part-of": "kubectl apply --applyset",
    "kapp.k14s.io/app": "kapp",
    "configmanagement.gke.io/managed": "Config Sync",
}
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def owner_of(metadata: Metadata) -> str | None:
    """The tool that would create the object again; None if none is known."""
    return next((who for mark, who in _MARKS.items() if mark in metadata.annotations or mark in metadata.labels), None)


def applied(metadata: Metadata) -> bool:
    """Whether `kubectl apply` wrote the object, run by a person or a pipeline."""
    return _APPLIED in metadata.annotations
