"""The source folder is called like Python's module `operator`: it must never shadow it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_source_folder_is_no_package() -> None:
    assert (ROOT / "operator" / "vmferry" / "__init__.py").is_file()
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would hide Python's own module operator"


def test_python_finds_its_own_operator_from_the_root_of_the_repository() -> None:
    code = "import operator; print(operator.__file__ or operator.__path__, operator.add(1, 2))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, env={})
    assert done.returncode == 0, done.stderr
    assert not done.stdout.startswith(str(ROOT)) and done.stdout.split()[-1] == "3"
