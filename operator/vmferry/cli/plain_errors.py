"""Click commands that report an invalid argument in one line without control characters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

#: maximum length of an error message, in characters; an argument may be much longer
LONGEST = 512


class PlainCommand(click.Command):
    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _plain():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _plain():
            return super().invoke(ctx)


class PlainGroup(PlainCommand, click.Group):
    """A group with the same error handling; the arguments of its commands are parsed in `invoke`."""


@contextmanager
def _plain() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise  # this exception's message is the help text
    except click.UsageError as error:
        # imported late to keep `--help` fast
        from vmferry.resources.base import clip

        raise click.UsageError(clip(error.format_message(), LONGEST), error.ctx) from error
