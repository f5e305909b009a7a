"""Writes every generated file: `make generate`. With --check it writes nothing, and fails if a file is not current.

vmferry.resources      -> crds/
helm.generate          -> helm/vmferry: definitions, schema, dashboard, README's table, versions
docs.generate          -> docs/reference/, docs/design/rules.md
vmferry.runtime.reference -> docs/metrics.md, docs/events.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs import generate as docs
from helm import generate as chart
from vmferry.resources.catalog import CATALOG
from vmferry.resources.crd import render
from vmferry.runtime import reference

ROOT = Path(__file__).resolve().parent.parent
CRDS = ROOT / "crds"
#: folders in which all files with a suffix are generated
_FOLDERS = (CRDS, chart.CHART / "files" / "crds", docs.REFERENCE)


def files() -> dict[Path, str]:
    """The required content of each generated file."""
    definitions = {CRDS / f"{kind.plural}.yaml": render(kind) for kind in CATALOG.values()}
    pages = {ROOT / "docs" / name: text for name, text in reference.pages().items()}
    return definitions | pages | chart.files() | docs.files()


def stale() -> list[Path]:
    """The files that are missing, differ, or are no longer generated."""
    wanted = files()
    differ = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    return differ + [path for folder in _FOLDERS for path in folder.glob("*.*") if path not in wanted]


def main(check: bool) -> int:
    found = stale()
    if check:
        for path in found:
            print(f"{path.relative_to(ROOT)} is not current: run `make generate` and commit it")
        return 1 if found else 0
    wanted = files()
    for path in found:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
