"""The Kubernetes API as the plug-in uses it, and its errors: a message of one sentence and an exit status."""

from __future__ import annotations

from typing import Protocol

from vmferry.cli.terminal import plain
from vmferry.cli.verdict import ExitStatus
from vmferry.resources.base import API_VERSION, Resource
from vmferry.resources.catalog import CATALOG
from vmferry.runtime.kube_api import (
    AlreadyExistsError,
    Body,
    ChangedError,
    KubeError,
    NoConnectionError,
    NotInstalledError,
    error_type,
    status_object,
)

Kind = type[Resource]

FIELD_MANAGER = "kubectl-ferry"
#: maximum length in characters of a server's message; a gateway's error page is cut off
_WORDS = 2000


class FerryError(Exception):
    """The command ends with an error; the message is a sentence that is safe to print on a terminal."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.CANNOT_TELL) -> None:
        super().__init__(plain(message))
        self.status = status


def exit_status(error: FerryError | KubeError) -> ExitStatus:
    """The exit status for an error: BLOCKED where the API server rejects the content."""
    if isinstance(error, FerryError):
        return error.status
    return ExitStatus.BLOCKED if error.code in (400, 409, 422) else ExitStatus.CANNOT_TELL


class Kube(Protocol):
    """The Kubernetes API; bodies are parsed JSON. Every method raises KubeError."""

    @property
    def namespace(self) -> str:
        """The namespace of the kubeconfig's context, else `default`."""

    def get(self, kind: Kind, namespace: str, name: str) -> Body: ...

    def list(self, kind: Kind, namespace: str | None) -> list[Body]:
        """List objects of a namespace; None: of all namespaces."""

    def create(self, body: Body, *, dry_run: bool = False) -> Body: ...

    def apply(self, body: Body, *, dry_run: bool = False, force: bool = False) -> Body:
        """Server-side apply with the field manager `FIELD_MANAGER`."""

    def mark(self, body: Body, *, dry_run: bool = False) -> None:
        """Merge the data into the ConfigMap; create it if it does not exist."""

    def delete(self, kind: Kind, namespace: str, name: str, uid: str, version: str | None = None) -> None:
        """Delete the object only if its uid and, if given, its resourceVersion match. Raises ChangedError otherwise."""


def namespaced(kind: Kind) -> bool:
    return CATALOG[kind.KIND].namespaced


def full_name(kind: str, metadata: Body) -> str:
    """The kind and the name: `VMMigration migrations/web-1`, `HostMaintenance cmp1`."""
    namespace = metadata.get("namespace")
    return f"{kind} {namespace}/{metadata['name']}" if namespace else f"{kind} {metadata['name']}"


def refusal(what: str, code: int, answer: str | bytes | None) -> KubeError:
    """Convert an error response of the API server to an exception; the message includes the server's own.

    `what` is the failed action in the infinitive: `get VMMigration a/b`.
    """
    status = status_object(answer)
    details = status["details"] if isinstance(status.get("details"), dict) else {}
    listed = details.get("causes")
    causes = [cause for cause in (listed if isinstance(listed, list) else []) if isinstance(cause, dict)]
    words = str(status.get("message") or "no reason was given")[:_WORDS].rstrip(".")
    wrong, sentence = error_type(code, status), f"cannot {what}: {words}"
    match code:
        case 404 if details.get("kind") == "namespaces" or words.startswith("namespaces "):
            wrong = KubeError
            sentence = f"the namespace {details.get('name')} does not exist: create it, or name another with -n"
        case 404 if details.get("name"):
            sentence = f"cannot {what}: there is none"
        case 404:
            kind = next((name for name in CATALOG if name in what), "that was asked for")
            wrong, sentence = (
                NotInstalledError,
                (
                    f"vmferry is not installed in this cluster: it does not know the kind {kind} of {API_VERSION} "
                    "(`kubectl apply -f crds/` installs it)"
                ),
            )
        case 401:
            sentence = f"cannot {what}: the cluster does not accept these credentials ({words})"
        case 403:
            sentence = f"not allowed to {what}: {words}"
        case 409 if wrong is AlreadyExistsError:
            sentence = f"cannot {what}: there is one of that name already; choose another --name"
        case 409 if any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
            sentence = f"cannot {what}: {_owners(causes)}; change it there, or take it over with --force-conflicts"
        case 409 if "the ResourceVersion in the precondition" in words:
            wrong = ChangedError
        case 400 | 409 | 422:
            pass
        case 429 | 500 | 502 | 503 | 504:
            wrong = NoConnectionError
            sentence = f"cannot {what}: the cluster cannot answer now ({code}: {words})"
        case _:
            sentence = f"cannot {what}: {code} {words}"
    return wrong(plain(sentence), code=code)


def _owners(causes: list[Body]) -> str:
    """Describe the field managers of conflicting fields, from causes like `conflict with "argocd-controller"`."""
    owned = []
    for cause in causes:
        manager = str(cause.get("message", "")).removeprefix("conflict with ").split(" using ")[0].strip('"')
        owned.append(f"{cause.get('field')} belongs to {manager}")
    return ", ".join(owned)
