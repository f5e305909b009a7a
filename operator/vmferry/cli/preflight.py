"""`vmferry preflight`: the command line. The work is in `run`, which is imported late to keep `--help` fast."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmferry.cli.plain_errors import PlainCommand
from vmferry.resources.words import MigrationType

if TYPE_CHECKING:
    from vmferry.cli.run import Options

_CANNOT_TELL = 2
_INTERRUPTED = 130

_HELP = """Say which servers could be moved, where to, and what stands in the way; move nothing.

The verdicts are the operator's own, reached by the same checks on one full read of the cloud. Kubernetes is not needed.
What only the operator's resources tell is therefore not known: moves that it has decided and Nova does not show yet,
hosts in maintenance that are not disabled in Nova, and which servers have gone to a newer operating system one way:
where the operator says NotReturnable, preflight says OSMismatch, or nothing if no hosts' systems are told.

WAITS: nothing but other moves stands in the way, and the operator would queue it; -> is the host that it would go to.

Name servers by id, or by name with --project; or take all on a HOST, or --all.

\b
Exit status:
  0    every server can be moved (or waits for other moves only, or is on the target already, or there is none)
  1    every server was judged, and at least one is blocked
  2    cannot tell: nothing but facts that the cloud does not report stands in the way of a server; a server or host
       was not found; the cloud or the configuration cannot be read; bad arguments. Wins over 1.
  130  interrupted
"""


@click.command(cls=PlainCommand, help=_HELP, short_help="Say which servers could be moved, and what stands in the way.")
@click.argument("servers", metavar="[SERVER]...", nargs=-1)
@click.option("--project", help="Name or id of the project in which the SERVER names are looked for.")
@click.option("--host", "hosts", metavar="HOST", multiple=True, help="Every server on this host; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Every server of the cloud.")
@click.option(
    "--type",
    "type_",
    type=click.Choice([type_.value for type_ in MigrationType], case_sensitive=False),
    default=MigrationType.AUTO.value,
    show_default=True,
    help="The kind of migration. Evacuate attests that the host is dead.",
)
@click.option(
    "--target", metavar="HOST", help="To this host (name, or UUID of the hypervisor) instead of the best one."
)
@click.option("--stop-if-running", is_flag=True, help="Cold: a running server may be stopped gracefully first.")
@click.option("--os-upgrade", is_flag=True, help="The move may cross to a newer hypervisor, one way.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The operator's configuration: which cloud, and the policy. Without it: the default policy.",
)
@click.option("--cloud", metavar="NAME", help="The cloud in clouds.yaml; wins over --config. Else OS_* variables.")
@click.option("--clouds-file", type=click.Path(path_type=Path), help="The clouds.yaml; wins over --config.")
@click.option(
    "--output",
    "format_",
    type=click.Choice(["table", "wide", "json", "junit"]),
    default="table",
    show_default=True,
    help="JSON has the fields of a VMMigration's status.",
)
@click.option("--output-file", type=click.Path(path_type=Path), help="Write the report there instead of to stdout.")
@click.option("--quiet", is_flag=True, help="No progress and no notes on stderr; errors are still told.")
def preflight(
    servers: tuple[str, ...],
    project: str | None,
    hosts: tuple[str, ...],
    everything: bool,
    type_: str,
    target: str | None,
    stop_if_running: bool,
    os_upgrade: bool,
    config: Path | None,
    cloud: str | None,
    clouds_file: Path | None,
    format_: str,
    output_file: Path | None,
    quiet: bool,
) -> None:
    kind = MigrationType(type_)
    if sum((bool(servers), bool(hosts), everything)) != 1:
        raise click.UsageError("name servers, or give --host, or --all: exactly one of the three")
    if project is not None and not servers:
        raise click.UsageError("--project goes with SERVER names only")
    if target is not None and not target.strip():
        raise click.UsageError("--target is empty")
    if stop_if_running and kind not in (MigrationType.COLD, MigrationType.AUTO):
        raise click.UsageError("--stop-if-running goes with type Cold or Auto only")

    from vmferry.cli import select
    from vmferry.planning.request import Request

    if project is None and (names := [text for text in servers if not select.is_id(text)]):
        raise click.UsageError(f"{names[0]!r} is no server id; for a name --project is needed")
    from vmferry.cli.report import Format
    from vmferry.cli.run import Options

    end(
        Options(
            selection=select.Selection(servers, project, hosts, everything),
            request=Request(kind, target, stop_if_running, os_upgrade, attested=None),
            config=config,
            cloud=cloud,
            clouds_file=clouds_file,
            format=Format(format_),
            output_file=output_file,
            quiet=quiet,
        )
    )


def end(options: Options) -> None:
    """Run the command, and end the process with its exit status."""
    from vmferry.cli.run import PreflightError, fit, run

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = int(run(options, os.environ, sys.stdout, sys.stderr))
        sys.stdout.flush()
    except PreflightError as error:
        code = _CANNOT_TELL
        # no error message, because the reader of the output has closed it
        if not isinstance(error.__cause__, BrokenPipeError):
            sys.stderr.write(f"Error: {error}\n")
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception:  # Python would exit with 1 after an internal error, which would look like a verdict
        code = _CANNOT_TELL
        sys.stderr.writelines(f"{fit(line)}\n" for line in traceback.format_exc().splitlines())
    sys.stderr.flush()
    # Threads may still wait for responses of the cloud that are no longer needed, and a normal exit would wait for
    # them.
    os._exit(code)
