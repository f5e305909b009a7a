"""Reproducible archives: the same files always yield the same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive."""

    content: bytes
    executable: bool = False


def write(path: Path, entries: Mapping[str, Entry], at: int) -> None:
    """Write a .tar.gz with sorted names, no owner, and a single time: `at`, in seconds since the epoch."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, entry in sorted(entries.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(entry.content), at, 0o755 if entry.executable else 0o644
            tar.addfile(info, io.BytesIO(entry.content))
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=at) as zipped:
        zipped.write(raw.getvalue())


def read(path: Path) -> dict[str, Entry]:
    """Read the files of a .tar.gz, by name."""
    with tarfile.open(path) as tar:
        return {
            info.name: Entry(file.read(), bool(info.mode & 0o100))
            for info in tar
            if (file := tar.extractfile(info)) is not None
        }
