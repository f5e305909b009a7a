"""A module's tests are where its name leads to: `tests/<package>/**/test_<module>.py`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "operator" / "vmferry"
#: modules without such a file; it is only ever lowered
CEILING = 142
#: nor is the simulator, which the contract suite tests
NOT_COUNTED = ("__init__", "__main__")


def without_a_test_of_their_name() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE)
        if path.stem in NOT_COUNTED or module.parts[0] == "simulator":
            continue
        top = ROOT / "tests" / (module.parts[0] if len(module.parts) > 1 else "")
        if not any(top.rglob(f"test_{path.stem}.py")):
            found.append(module.as_posix())
    return found


def test_no_more_modules_than_before_have_no_test_of_their_name() -> None:
    missing = without_a_test_of_their_name()
    assert len(missing) <= CEILING, "name the new test after its module:\n" + "\n".join(missing)
