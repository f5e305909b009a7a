"""Runs the tests with real guests in a sandbox: `python -m testbed.guests [arguments of pytest]`, or `make
test-guests`."""

from __future__ import annotations

import sys

import pytest

from testbed.debian import InstallError
from testbed.guests.host import PACKAGES
from testbed.sandbox import enter


def main() -> int:
    try:
        enter("testbed.guests", sys.argv[1:], network=True, packages=PACKAGES)
    except InstallError as error:
        print(f"guests: {error}", file=sys.stderr)
        return 1
    return int(pytest.main(["-p", "no:cacheprovider", "tests/guests", *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
