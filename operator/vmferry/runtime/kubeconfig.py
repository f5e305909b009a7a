"""Why a kubeconfig cannot be used. The clients let pass whatever Python says of a broken one."""

from __future__ import annotations

import yaml

from vmferry.redaction import redact
from vmferry.resources.base import clip

#: what the clients raise beside their own exceptions where the file is no kubeconfig
BROKEN = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def unusable(error: Exception, path: str | None) -> str:
    """One clean line without a token: some of the clients' own words repeat the entry that is wrong.

    `path` is the file that was asked for, if one was.
    """
    if not isinstance(error, BROKEN):
        return clip(redact(f"no way to Kubernetes: {error}"))
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    where = f" in line {mark.line + 1}" if mark else ""
    which = path or "the user's own"
    return clip(f"no way to Kubernetes: {which} is no kubeconfig: {type(error).__name__}{where}")
