"""A program in a terminal of its own, and what a person sees there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

_LOOK = 0.05


class Terminal:
    """`screen` is the terminal's, as the program has drawn it; `text` is all that it ever wrote."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, columns: int = 100, lines: int = 30
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.text = ""
        self._master, slave = pty.openpty()
        self._resize(slave, columns, lines)
        # the size is the terminal's own, as it is for a person
        inherited = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command,
            env={"TERM": "xterm-256color", **inherited},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_in_front,
        )
        os.close(slave)

    @staticmethod
    def _resize(descriptor: int, columns: int, lines: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """As when a person drags the window; the program is told."""
        self._resize(self._master, columns, lines)
        self.screen.resize(lines, columns)

    @property
    def shown(self) -> list[str]:
        """The lines, without what is empty at their ends and below."""
        self.read()
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def read(self) -> None:
        """Take in all that was written."""
        with contextlib.suppress(OSError):  # how Linux says that nobody has the other side open
            while select.select([self._master], [], [], 0)[0]:
                data = os.read(self._master, 65536)
                if not data:
                    break
                self._stream.feed(data)
                self.text += data.decode(errors="replace")

    def type(self, text: str) -> None:
        """Keys; `\\x03` is Ctrl-C."""
        os.write(self._master, text.encode())

    def until(self, seen: Callable[[list[str]], bool], what: str, seconds: float = 60) -> list[str]:
        """Wait until the lines on the screen are such, and return them. Raises AssertionError."""
        deadline = time.monotonic() + seconds
        while not seen(lines := self.shown):
            assert time.monotonic() < deadline, f"waited in vain for {what} on:\n" + "\n".join(lines)
            time.sleep(_LOOK)
        return lines

    def end(self, seconds: float = 60) -> int:
        """The exit status, once it has ended and all of it was read."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            self.read()
            assert time.monotonic() < deadline, "it does not end:\n" + "\n".join(self.shown)
            time.sleep(_LOOK)
        self.read()
        return self.process.wait()

    def close(self) -> None:
        """End what still runs in it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


def _in_front() -> None:
    """In the child: the terminal is its own, so Ctrl-C reaches it; and what a test in the background ignores is not."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
