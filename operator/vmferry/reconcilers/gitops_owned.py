"""Objects that somebody would create again if they were deleted: those that lie in a repository or in a release.

A finished VMMigration that is deleted after its time and comes back is a new request: it would move its server once
more, every time. So what is marked as theirs by Argo CD, Flux, Helm and their like is never deleted for its age. A
plain `kubectl apply` may be a person's or a pipeline's: there only a time that the object itself names is enough.
"""

from __future__ import annotations

from vmferry.resources.base import Metadata

#: by annotation or label: whose mark it is
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
    """Who would create it again, None: nobody is known to."""
    return next((who for mark, who in _MARKS.items() if mark in metadata.annotations or mark in metadata.labels), None)


def applied(metadata: Metadata) -> bool:
    """Whether `kubectl apply` has written it, by a hand or by a pipeline."""
    return _APPLIED in metadata.annotations
