"""A program in a pseudo-terminal, and the screen that a person would see."""

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
    """A program in a terminal. `screen` is the terminal's screen; `text` is everything that the program wrote."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, columns: int = 100, lines: int = 30
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.text = ""
        self._master, slave = pty.openpty()
        self._resize(slave, columns, lines)
        # the size is that of the terminal, as it is for a person
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
        """Resize the terminal; the program gets SIGWINCH, as when a person drags the window."""
        self._resize(self._master, columns, lines)
        self.screen.resize(lines, columns)

    @property
    def shown(self) -> list[str]:
        """The lines of the screen, without trailing blanks and without empty lines at the end."""
        self.read()
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def read(self) -> None:
        """Process all output so far."""
        with contextlib.suppress(OSError):  # Linux reports an error once the program has closed its side
            while select.select([self._master], [], [], 0)[0]:
                data = os.read(self._master, 65536)
                if not data:
                    break
                self._stream.feed(data)
                self.text += data.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type keys; `\\x03` is Ctrl-C."""
        os.write(self._master, text.encode())

    def until(self, seen: Callable[[list[str]], bool], what: str, seconds: float = 60) -> list[str]:
        """Wait until `seen` accepts the lines of the screen, and return them. Raises AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not seen(lines := self.shown):
            assert time.monotonic() < deadline, f"waited in vain for {what} on:\n" + "\n".join(lines)
            time.sleep(_LOOK)
        return lines

    def end(self, seconds: float = 60) -> int:
        """Wait until the program has ended and its output was read, and return its exit status. Raises
        AssertionError."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            self.read()
            assert time.monotonic() < deadline, "it does not end:\n" + "\n".join(self.shown)
            time.sleep(_LOOK)
        self.read()
        return self.process.wait()

    def close(self) -> None:
        """Kill the program if it still runs, and close the terminal."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


def _in_front() -> None:
    """In the new process: make the terminal its controlling terminal, so that Ctrl-C reaches it, and restore SIGINT,
    which background jobs ignore."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
