"""Error messages for unusable kubeconfigs, and in-memory storage of the keys in a kubeconfig.

For a broken kubeconfig the client libraries raise arbitrary Python exceptions. They also write inline certificates and
keys to temporary files, which remain if the process is killed.
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from vmferry.redaction import SECRETS, redact
from vmferry.resources.base import clip

#: exceptions other than their own that the clients raise if the file is not a kubeconfig
BROKEN = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def unusable(error: Exception, path: str | None) -> str:
    """A one-line message without secrets. The clients' own messages may repeat the invalid entry.

    `path` is the file that was chosen explicitly, if any.
    """
    if not isinstance(error, BROKEN):
        return clip(redact(f"no way to Kubernetes: {error}"))
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    where = f" in line {mark.line + 1}" if mark else ""
    which = path or "the user's own"
    return clip(f"no way to Kubernetes: {which} is no kubeconfig: {type(error).__name__}{where}")


def keep_keys_in_memory(module: ModuleType) -> None:
    """Patch the client's `kube_config` module so that no keys remain on disk when the process ends.

    The module needs file names: on Linux it gets anonymous files in memory, elsewhere files in a private folder, which
    the next start deletes.
    """
    held: dict[bytes, str] = {}
    writes_files = "_create_temp_file_with_content"
    assert callable(vars(module)[writes_files])

    def create(content: str | bytes, *_: Any, **__: Any) -> str:
        data = content.encode() if isinstance(content, str) else content
        if b"PRIVATE KEY" in data:
            SECRETS.add(base64.b64encode(data))
        if data not in held:
            held[data] = _in_memory(data) if hasattr(os, "memfd_create") else _in_private_folder(data)
        return held[data]

    vars(module)[writes_files] = create


def _in_memory(data: bytes) -> str:
    # never closed, because the clients read it again for each new connection
    number = os.memfd_create("vmferry", os.MFD_CLOEXEC)
    os.write(number, data)
    return f"/proc/self/fd/{number}"


def _in_private_folder(data: bytes) -> str:
    root = Path(tempfile.gettempdir())
    mine = f"vmferry-{os.getuid()}-"
    for folder in root.glob(f"{mine}*"):
        process = folder.name.removeprefix(mine).split("-")[0]
        if process.isdecimal() and not _alive(int(process)) and folder.lstat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-"))
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_bytes(data)
    return str(path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
