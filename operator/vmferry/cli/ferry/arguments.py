"""The command line of `kubectl ferry`. The commands themselves are in `commands`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NoReturn

from vmferry.cli.ferry.completion import SHELLS
from vmferry.cli.ferry.output import Output
from vmferry.cli.plain_errors import LONGEST
from vmferry.resources.base import clip, parse_duration
from vmferry.resources.words import MigrationType, Priority

PROGRAM = "kubectl ferry"
#: maximum time in seconds that `targets` waits for the operator's verdict
VERDICT_SECONDS = 60

#: the namespace in which the manifests and the documentation install the operator
OPERATOR_NAMESPACE = "vmferry-system"

EXIT_STATUS = """\
exit status:
  0    done, asked for, or under way
  1    failed, blocked, or refused by the cluster's rules
  2    cannot tell: facts that the cloud does not report, no such object, nobody has answered in time, no connection,
       no permission, bad arguments
  130  interrupted; what was asked for stays as it is
"""
_DESCRIPTION = """\
Moves servers of an OpenStack cloud and drains its hosts, by way of vmferry's resources in Kubernetes.
Whatever is asked for goes on in the cluster when this program ends.

SERVER is a UUID, PROJECT/NAME, or a name with --project.
"""

#: (type, help, description) by command
MOVES: dict[str, tuple[MigrationType, str, str]] = {
    "live": (MigrationType.LIVE, "move a running server without stopping it", ""),
    "cold": (MigrationType.COLD, "move a server that is powered off", ""),
    "evacuate": (
        MigrationType.EVACUATE,
        "rebuild a server of a dead host elsewhere",
        "It names the host on which the server is, and asks whether that host is dead. Your answer is about that host "
        "and this moment: the request fails if the server is on another host, or if the host reports again. It is "
        "refused while the host's compute service is up or reported lately, and where disks would be lost.\n",
    ),
    "move": (MigrationType.AUTO, "move a server in the way that fits its state", ""),
}


class _Parser(argparse.ArgumentParser):
    """A parser that clips invalid arguments and removes control characters in its error messages. Subcommands use it,
    too."""

    def error(self, message: str) -> NoReturn:
        super().error(clip(message, LONGEST))


def parser() -> argparse.ArgumentParser:
    """Build the whole command line; `command` of the result is the chosen command."""
    top: argparse.ArgumentParser = _Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_connection(None)],
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, help_: str, description: str = "", *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help_,
            description=f"{help_[0].upper()}{help_[1:]}.\n{description}",
            epilog=EXIT_STATUS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[_connection(argparse.SUPPRESS), *parents],
            allow_abbrev=False,
        )

    for name, (kind, help_, description) in MOVES.items():
        move = add(name, help_, description, _output(), _dry_run(), _waiting())
        _server(move, stoppable=kind in (MigrationType.COLD, MigrationType.AUTO))
        move.add_argument("--name", help="name of the VMMigration; else one is made up of the server's name")
        move.add_argument("--timeout", type=_duration, help="deadline of an attempt, like 30m")
        move.add_argument("--priority", type=_word(Priority), choices=_values(Priority), help="who goes first")
        move.add_argument(
            "--start-before", type=_moment, metavar="TIME", help="start nothing after it, like 2026-12-01T06:00:00Z"
        )
        move.add_argument(
            "--keep",
            action="store_true",
            help="with --wait or --watch: leave a request that is blocked where it is; it starts by itself later",
        )
        if kind is MigrationType.EVACUATE:
            move.add_argument("--from", dest="source", metavar="HOST", help="the dead host; else the operator is asked")
            move.add_argument(
                "-y", "--yes", action="store_true", help="do not ask: the host is powered off for certain"
            )

    targets = add("targets", "say where a server may go, and why not elsewhere; move nothing", "", _output())
    _server(targets, stoppable=True, optional=True)
    targets.add_argument(
        "--type",
        type=_word(MigrationType),
        choices=_values(MigrationType),
        default=MigrationType.AUTO.value,
        help="the kind of migration (default: the one that fits)",
    )
    targets.add_argument("--migration", metavar="NAME", help="read this VMMigration instead of asking anew")
    targets.add_argument(
        "--wait-timeout",
        type=_duration,
        default=timedelta(seconds=VERDICT_SECONDS),
        help=f"how long to wait for the operator's verdict (default: {VERDICT_SECONDS}s)",
    )

    commands.add_parser("preflight", help="judge servers without Kubernetes: `vmferry preflight`", add_help=False)

    drain = add("drain", "take a host into maintenance: its servers leave", "", _output(), _dry_run(), _waiting())
    drain.add_argument("host", metavar="HOST", help="compute service host name, or the hypervisor's UUID")
    drain.add_argument("--reason", help="why; stands in Nova's disabled reason, too")
    drain.add_argument("--target", metavar="HOST", help="everything goes there")
    drain.add_argument("--max-parallel", type=int, metavar="N", help="servers that are moved at once")
    drain.add_argument(
        "--return-vms", action=argparse.BooleanOptionalAction, default=None, help="bring them back on release"
    )
    drain.add_argument("--preflight-only", action="store_true", help="check the host and write the plan, touch nothing")
    _force(drain)

    release = add("release", "give a host back", "", _output(), _dry_run(), _waiting())
    release.add_argument("host", metavar="HOST", help="the host, as its HostMaintenance names it")
    release.add_argument("--delete", action="store_true", help="delete the HostMaintenance instead of switching it off")
    _force(release)

    status = add("status", "show all maintenances and migrations, or one", "", _output())
    status.add_argument("name", metavar="HOST|MIGRATION", nargs="?")
    status.add_argument("-A", "--all-namespaces", action="store_true", help="migrations of all namespaces")

    why = add("why", "say what stands against a migration or maintenance, and what to do about it", "", _output())
    why.add_argument("name", metavar="NAME", help="of a VMMigration or HostMaintenance, or a host")

    resume = add(
        "resume",
        "close the breaker of a host, or all of them: moves start again at once",
        "Failures until now count no more. Without HOST: those from any host.\n",
        _dry_run(),
    )
    resume.add_argument("host", metavar="HOST", nargs="?", help="the host, or its HostMaintenance's name")
    resume.add_argument(
        "--operator-namespace",
        default=OPERATOR_NAMESPACE,
        metavar="NAMESPACE",
        help=f"where the operator runs (default: {OPERATOR_NAMESPACE})",
    )

    cancel = add("cancel", "delete a VMMigration, after saying what that means")
    cancel.add_argument("name", metavar="NAME")
    cancel.add_argument("-y", "--yes", action="store_true", help="do not ask")

    completion = add("completion", "print a script that teaches a shell to complete this")
    completion.add_argument("shell", metavar="|".join(SHELLS), choices=SHELLS)
    return top


def _connection(default: Any) -> argparse.ArgumentParser:
    """The connection options of kubectl, before or after the command. Only the options before the command may have a
    default: a default of those after it would overwrite values given before it."""
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument("-n", "--namespace", default=default, help="namespace of VMMigrations (default: the context's)")
    group.add_argument("--context", default=default, help="context of the kubeconfig")
    group.add_argument("--kubeconfig", default=default, help="path of the kubeconfig")
    group.add_argument(
        "--class",
        dest="class_",
        default=default,
        help="the operator that objects are for, where several run in the cluster (default: $VMFERRY_CLASS)",
    )
    return group


def _output() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        "-o",
        "--output",
        choices=[output.value for output in Output if output is not Output.TEXT],
        default=Output.TEXT.value,
        help="how to print it",
    )
    return group


def _dry_run() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        default="none",
        help="client: print the manifest, ask no cluster; server: let the cluster check it, change nothing",
    )
    return group


def _waiting() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False)
    how = group.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="until it is done, failed or blocked")
    how.add_argument("--watch", action="store_true", help="the same, and show the progress")
    group.add_argument("--wait-timeout", type=_duration, metavar="DURATION", help="give up waiting, like 2h")
    return group


def _server(command: argparse.ArgumentParser, *, stoppable: bool, optional: bool = False) -> None:
    command.add_argument("server", metavar="SERVER", nargs="?" if optional else None)
    command.add_argument("--project", help="name or id of the project in which SERVER is a name")
    command.add_argument("--host", help="to this host, instead of the best one")
    command.add_argument("--os-upgrade", action="store_true", help="it may go to a newer system, one way")
    if stoppable:
        command.add_argument("--stop-if-running", action="store_true", help="stop it gracefully, move it, start it")


def _force(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--force-conflicts", action="store_true", help="take over fields that somebody else has written"
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time with its zone, like 2026-12-01T06:00:00Z")
    return moment


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _values(enum: type[Priority] | type[MigrationType]) -> list[str]:
    return [value.value for value in enum]


def _word(enum: type[Priority] | type[MigrationType]) -> Callable[[str], str]:
    """A converter that accepts the enum's values in any case."""
    return lambda text: next((value.value for value in enum if value.lower() == text.lower()), text)
