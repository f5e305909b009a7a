"""Preflight: read the cloud once, assess the selected servers, write a report. Needs neither kopf nor Kubernetes."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from vmferry.cli.assess import assess_servers, not_found
from vmferry.cli.report import Format, make_report
from vmferry.cli.select import Selection, SelectionError, select
from vmferry.cli.terminal import Paint, Progress, plain, wants_colour
from vmferry.cli.verdict import ExitStatus, Tally
from vmferry.cloud.model import Snapshot
from vmferry.cloud.nova import CloudError, NovaClient
from vmferry.cloud.observer import Observer
from vmferry.planning.request import Request
from vmferry.redaction import redact
from vmferry.runtime.config import Config, ConfigError, load, parse

#: seconds between two updates of the progress
_LOOK = 0.2


class PreflightError(Exception):
    """Preflight cannot reach a verdict; the message explains why."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, validated as far as possible without reading the cloud."""

    selection: Selection
    request: Request
    config: Path | None = None
    cloud: str | None = None
    clouds_file: Path | None = None
    format: Format = Format.TABLE
    output_file: Path | None = None
    quiet: bool = False


def run(options: Options, environment: Mapping[str, str], out: TextIO, err: TextIO) -> ExitStatus:
    """Run the whole command. Raises PreflightError, whose message is safe to print on a terminal."""
    _listen(err)
    progress = Progress(err, quiet=options.quiet)
    try:
        config = _config(options, environment)
        client = NovaClient(config.cloud.name, clouds_yaml=config.cloud.clouds_file)
        snapshot = asyncio.run(_read(client, config, options.selection, progress))
        return _judge(options, config, snapshot, environment, out, err, progress)
    except ConfigError as error:
        # not redacted: the message has no secret values, but "password: no such key" would look like one
        raise PreflightError("\n".join(plain(line) for line in str(error).splitlines())) from error
    except (CloudError, SelectionError) as error:
        raise PreflightError("\n".join(fit(line) for line in str(error).splitlines())) from error
    except OSError as error:
        raise PreflightError(fit(f"{error.filename or 'the report'}: {error.strerror}")) from error
    finally:
        progress.clear()


def fit(text: str) -> str:
    """Return one line without control characters and without secrets."""
    return redact(plain(text))


def _config(options: Options, environment: Mapping[str, str]) -> Config:
    """The operator's configuration. The cloud options of the command line take precedence."""
    config = load(options.config, environment) if options.config else parse({}, environment)
    changes = {"name": options.cloud, "clouds_file": options.clouds_file}
    cloud = config.cloud.model_copy(update={key: value for key, value in changes.items() if value is not None})
    return config.model_copy(update={"cloud": cloud})


async def _read(client: NovaClient, config: Config, selection: Selection, progress: Progress) -> Snapshot:
    """Read the same snapshot that the operator starts with. Raises CloudError."""
    observer = Observer(client, stuck_after=config.policy.stuck_after)
    ticking = asyncio.create_task(_tick(client, progress))
    try:
        snapshot = await observer.read_once()
        progress.line(fit(f"cloud: {client.login}"))
        for server_id in selection.ids:
            if server_id not in snapshot.servers:
                # a server that is not listed is requested by its id before it counts as unknown (I4)
                await observer.detail(server_id)
        return observer.snapshot
    finally:
        ticking.cancel()
        await observer.stop()


async def _tick(client: NovaClient, progress: Progress) -> None:
    while True:
        await asyncio.sleep(_LOOK)
        progress.show(f"reading the cloud: {sum(client.calls.values())} requests")


def _judge(
    options: Options,
    config: Config,
    snapshot: Snapshot,
    environment: Mapping[str, str],
    out: TextIO,
    err: TextIO,
    progress: Progress,
) -> ExitStatus:
    servers, missing = select(options.selection, snapshot)
    policy, now = config.policy, datetime.now(UTC)
    tally = Tally()
    with _opened(options.output_file, out) as stream:
        paint = Paint(wants_colour(stream, environment))
        report = make_report(options.format, stream, paint, options.request, now)
        for verdict in assess_servers(servers, options.request, snapshot, policy, now):
            tally.count(verdict.answer)
            report.add(verdict)
            progress.show(f"judging: {tally.servers} of {len(servers)} servers")
        for text, sentence in missing.items():
            verdict = not_found(text, sentence)
            tally.count(verdict.answer)
            report.add(verdict)
        progress.clear()
        report.end(tally)
        stream.flush()
    age = snapshot.age(datetime.now(UTC))
    if not options.quiet and (age is None or age > policy.max_view_age):
        described = "of unknown age" if age is None else f"{int(age.total_seconds())} s old"
        err.write(f"note: the view of the cloud is {described} by now; the operator would read it anew\n")
    if not options.quiet and options.output_file is not None:
        err.write(f"{tally}; the report is in {plain(str(options.output_file))}\n")
    return tally.exit_status


@contextmanager
def _opened(path: Path | None, out: TextIO) -> Iterator[TextIO]:
    """Open the destination of the report. A file is replaced only once the report is complete."""
    if path is None:
        yield out
    elif path.exists() and not path.is_file():
        # a device or a pipe cannot be replaced
        with path.open("w", encoding="utf-8") as stream:
            yield stream
    else:
        # an unpredictable name: two runs do not share a file, and no prepared symlink can redirect the report
        number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".unfinished", dir=path.parent)
        unfinished = Path(name)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                yield stream
            # mkstemp creates a file with mode 0600; a report gets the permissions of an ordinary new file
            unfinished.chmod(0o666 & ~_umask())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class _Lines(logging.Handler):
    """Prints warnings of all loggers, one line each without control characters."""

    def __init__(self, err: TextIO) -> None:
        super().__init__(logging.WARNING)
        self._err = err

    def emit(self, record: logging.LogRecord) -> None:
        self._err.write(f"{record.levelname.lower()}: {fit(record.getMessage())}\n")


def _listen(err: TextIO) -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines(err)], force=True)
