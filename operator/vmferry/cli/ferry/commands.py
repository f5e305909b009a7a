"""The commands: they call Kubernetes, print the result, and report it in the exit status."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TextIO

from vmferry.cli.ferry import completion, manifests
from vmferry.cli.ferry.arguments import MOVES, VERDICT_SECONDS
from vmferry.cli.ferry.kube import FerryError, Kind, Kube, full_name
from vmferry.cli.ferry.outcome import Object, Standing, outcome, read
from vmferry.cli.ferry.output import Output, printed, short
from vmferry.cli.ferry.screen import Screen, columns_of
from vmferry.cli.ferry.views import frame, overview, page, view_of
from vmferry.cli.ferry.views.migration import cancelling
from vmferry.cli.ferry.waiting import Waiting, wait, wait_until_gone
from vmferry.cli.ferry.wrap import wrap
from vmferry.cli.terminal import Paint, plain, wants_colour
from vmferry.cli.verdict import ExitStatus
from vmferry.prerequisites.enums import Name, Result
from vmferry.resources.base import format_time
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import MigrationType, Priority
from vmferry.runtime.kube_api import Body, ChangedError, KubeError, NotFoundError

_APPLIED = "serverside-applied"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment of a command: streams, clock, and connection, so that tests can replace them."""

    connect: Callable[[str | None, str | None], Kube]
    out: TextIO
    err: TextIO
    environment: Mapping[str, str]
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    #: returns a few random letters that make a name unique
    suffix: Callable[[], str]
    #: asks a yes-or-no question; None without a terminal
    ask: Callable[[str], bool] | None = None


class Ferry:
    """Runs one command line."""

    def __init__(self, args: argparse.Namespace, around: Surroundings) -> None:
        self._args = args
        self._around = around
        self._output = Output(getattr(args, "output", Output.TEXT))
        self._paint = Paint(wants_colour(around.out, around.environment))
        #: what remains in the cluster after an interruption, for the last message
        self.left_behind = ""

    def run(self) -> ExitStatus:
        """Run the command. Raises FerryError, KubeError and KeyboardInterrupt."""
        command: str = self._args.command
        if command in MOVES:
            return self.move(MOVES[command][0])
        status: ExitStatus = getattr(self, command)()
        return status

    @cached_property
    def kube(self) -> Kube:
        """Connected on first use, because `--dry-run=client` needs no cluster."""
        return self._around.connect(self._args.kubeconfig, self._args.context)

    @property
    def namespace(self) -> str:
        return self._args.namespace or self.kube.namespace

    # ---- commands

    def move(self, kind: MigrationType) -> ExitStatus:
        self._check_waiting()
        wish = self._wish(kind, preflight_only=False)
        # reports an invalid server before the first call to the cluster
        manifests.server_ref(wish.server, wish.project)
        client = self._args.dry_run == "client"
        if kind is MigrationType.EVACUATE:
            attested = self._attest(wish)
            if isinstance(attested, ExitStatus):
                return attested
            wish = replace(wish, attestation=attested)
        # as in kubectl, a client-side manifest has a namespace only if the command line names one
        namespace = self._args.namespace if client else self.namespace
        body = manifests.migration(wish, name=self._args.name, namespace=namespace, suffix=self._around.suffix())
        if client:
            return self._print_manifest(body)
        return self._see_through(self.kube.create(body, dry_run=self._dry_run), VMMigration, "created")

    def _attest(self, wish: manifests.Move) -> manifests.Attested | ExitStatus | None:
        """Return the host that the user attests to be dead.

        None: a dry run without `--from`. An exit status: the command ends here.
        """
        args, around = self._args, self._around
        host: str | None = args.source
        if args.dry_run == "none":
            if not args.yes and around.ask is None:
                raise FerryError("no terminal for a confirmation: use --yes once the host is powered off for certain")
            if host is None:
                body = self._ask_the_operator(replace(wish, preflight_only=True))
                obj = read(body)
                assert isinstance(obj, VMMigration)
                views = [view for view in obj.status.prerequisites if view.name == Name.SOURCE_HOST]
                host = obj.status.source_host
                if host is None or any(view.result is not Result.PASSED for view in views):
                    self._write([body], lambda: [*page.why(obj, self._paint, stays=False), "", "nothing was created"])
                    return max(outcome(obj).standing.exit_status, ExitStatus.BLOCKED)
            if not args.yes:
                assert around.ask is not None
                self._say(
                    f"{wish.server} is on {host}. Two hosts that write to its disks destroy them: go on only if {host} "
                    "is powered off for certain."
                )
                if not around.ask(f"{host} is dead: evacuate {wish.server} from it? [y/N] "):
                    self._say("nothing was done")
                    return ExitStatus.BLOCKED
        if host is None:
            return None
        return manifests.Attested(host, around.now(), around.environment.get("USER") or None)

    def drain(self) -> ExitStatus:
        self._check_waiting()
        args = self._args
        wish = manifests.Drain(
            args.host,
            args.reason,
            args.target,
            args.max_parallel,
            args.return_vms,
            args.preflight_only,
            self._class,
        )
        if args.dry_run == "client":
            return self._print_manifest(manifests.maintenance(wish))
        listed = self._list(HostMaintenance, None)
        existing = manifests.find_maintenance(args.host, listed, self._class)
        body = manifests.maintenance(wish, existing)
        taken = manifests.find_named(body["metadata"]["name"], listed) if existing is None else None
        if taken is not None:
            raise FerryError(
                f"HostMaintenance {taken['metadata']['name']} is there already, for the host "
                f"{manifests.host_of(taken)}: delete it, or apply a manifest with another name"
            )
        return self._see_through(self._apply(body), HostMaintenance, _APPLIED)

    def release(self) -> ExitStatus:
        self._check_waiting()
        args = self._args
        if args.dry_run == "client":
            if args.delete:
                raise FerryError("--delete has no manifest: --dry-run=client does not go with it")
            return self._print_manifest(manifests.release(args.host, class_=self._class))
        existing = manifests.find_maintenance(args.host, self._list(HostMaintenance, None), self._class)
        if existing is None:
            raise NotFoundError(f"no HostMaintenance is for the host {args.host}")
        for name in manifests.rivals(existing, self._list(HostMaintenance, None)):
            self._note(f"HostMaintenance {name} is for the same host, and is on")
        if not args.delete:
            return self._see_through(self._apply(manifests.release(args.host, existing)), HostMaintenance, _APPLIED)
        if self._dry_run:
            raise FerryError("--delete does not go with --dry-run")
        return self._delete(existing, HostMaintenance)

    def targets(self) -> ExitStatus:
        args = self._args
        if (args.server is None) == (args.migration is None):
            raise FerryError("name a SERVER to ask for, or with --migration NAME what was asked already")
        if args.migration is not None:
            body = self.kube.get(VMMigration, self.namespace, args.migration)
        else:
            body = self._ask_the_operator(self._wish(MigrationType(args.type), preflight_only=True))
        obj = read(body)
        assert isinstance(obj, VMMigration)
        self._write([body], lambda: page.targets(obj, self._paint))
        return outcome(obj).standing.exit_status

    def status(self) -> ExitStatus:
        args = self._args
        if args.name is not None:
            bodies = self._named(args.name)
            self._write(bodies, lambda: _apart(page.details(read(body), self._paint) for body in bodies))
            return max(outcome(read(body)).standing.exit_status for body in bodies)
        namespace = None if args.all_namespaces else self.namespace
        bodies = [*self._list(HostMaintenance, None), *self._list(VMMigration, namespace)]
        where = "any namespace" if namespace is None else f"the namespace {namespace} (-A: in all)"
        now, wide = self._around.now(), self._output is Output.WIDE
        objects = [] if self._output.data else [obj for body in bodies if (obj := self._readable(body)) is not None]
        self._write(
            bodies,
            lambda: overview.overview(objects, now, self._paint, wide=wide, where=where),
            as_list=True,
        )
        whole = self._output.data or len(objects) == len(bodies)
        return ExitStatus.ALL_OK if whole else ExitStatus.CANNOT_TELL

    def why(self) -> ExitStatus:
        bodies = self._named(self._args.name)
        self._write(bodies, lambda: _apart(page.why(read(body), self._paint) for body in bodies))
        return max(page.exit_status_of_why(read(body)) for body in bodies)

    def resume(self) -> ExitStatus:
        args = self._args
        now = self._around.now()
        if args.dry_run == "client":
            return self._print_manifest(manifests.resume_mark(args.host, now, args.operator_namespace))
        existing = None
        if args.host is not None:
            # without permission to list maintenances, the argument is taken as the host
            with suppress(FerryError, KubeError):
                listed = self._list(HostMaintenance, None)
                existing = manifests.find_named(args.host, listed)
                existing = existing or manifests.find_maintenance(args.host, listed, self._class)
        host = manifests.host_of(existing) if existing else args.host
        body = manifests.resume_mark(host, now, args.operator_namespace)
        self.kube.mark(body, dry_run=self._dry_run)
        whose = f"from {host}" if host else "from any host"
        dry = " (server dry run)" if self._dry_run else ""
        name = body["metadata"]["name"]
        self._say(f"configmap/{name} marked{dry}: failures {whose} before {format_time(now)} do not count any more")
        return ExitStatus.ALL_OK

    def cancel(self) -> ExitStatus:
        args = self._args
        body = self.kube.get(VMMigration, self.namespace, args.name)
        obj = read(body)
        assert isinstance(obj, VMMigration)
        self._say(f"{page.title(obj)}: {cancelling(obj)}")
        owner = next(
            (reference for reference in obj.metadata.owner_references if reference.kind == HostMaintenance.KIND), None
        )
        if owner is not None and obj.status.completed_at is None:
            self._say(f"it belongs to {owner.kind} {owner.name}, which asks for another one as long as it is enabled")
        if not args.yes:
            if self._around.ask is None:
                raise FerryError("nobody is there to be asked: say --yes")
            if not self._around.ask("cancel it? [y/N] "):
                self._say("nothing was done")
                return ExitStatus.BLOCKED
        return self._delete(body, VMMigration)

    def preflight(self) -> ExitStatus:
        """Not reached with arguments of `preflight`: `main` handles those."""
        raise FerryError("preflight asks the cloud and no cluster: write it first, then its own options")

    def completion(self) -> ExitStatus:
        self._around.out.write(completion.script(self._args.shell))
        return ExitStatus.ALL_OK

    # ---- shared

    @property
    def _dry_run(self) -> bool:
        return getattr(self._args, "dry_run", "none") == "server"

    def _check_waiting(self) -> None:
        args = self._args
        if args.dry_run != "none" and (args.wait or args.watch):
            raise FerryError("--wait and --watch do not go with --dry-run: nothing begins")
        if args.wait_timeout is not None and not (args.wait or args.watch):
            raise FerryError("--wait-timeout goes with --wait or --watch only")

    def _wish(self, kind: MigrationType, *, preflight_only: bool) -> manifests.Move:
        args = self._args
        priority = getattr(args, "priority", None)
        return manifests.Move(
            server=args.server,
            type=kind,
            project=args.project,
            host=args.host,
            stop_if_running=getattr(args, "stop_if_running", False),
            timeout=getattr(args, "timeout", None),
            priority=Priority(priority) if priority else None,
            os_upgrade=args.os_upgrade,
            preflight_only=preflight_only,
            class_=self._class,
            start_before=getattr(args, "start_before", None),
        )

    def _ask_the_operator(self, wish: manifests.Move) -> Body:
        """Create a VMMigration with `preflightOnly`, wait for its verdict, and delete it. Returns the object with the
        verdict."""
        name = f"{manifests.migration_name(manifests.server_ref(wish.server, wish.project), wish.type, 'targets')}"
        body = manifests.migration(wish, name=f"{name}-{self._around.suffix()}", namespace=self.namespace, suffix="")
        made = self.kube.create(body)
        try:
            limit = timedelta(seconds=VERDICT_SECONDS)
            how = replace(self._waiting(screen=None), timeout=self._args.wait_timeout or limit)
            return wait(lambda: self._again(made, VMMigration), made, how)
        finally:
            metadata = made["metadata"]
            try:
                self.kube.delete(VMMigration, metadata["namespace"], metadata["name"], metadata["uid"])
            except NotFoundError:
                pass  # deleted by somebody else in the meantime
            except KubeError as error:
                self._note(f"{full_name(VMMigration.KIND, metadata)} could not be deleted: {error}")

    def _apply(self, body: Body) -> Body:
        return self.kube.apply(body, dry_run=self._dry_run, force=self._args.force_conflicts)

    @property
    def _class(self) -> str | None:
        name: str | None = self._args.class_ or self._around.environment.get("VMFERRY_CLASS") or None
        return name

    def _named(self, text: str) -> list[Body]:
        """Return the maintenance of that host or name, and the migration of that name. Raises NotFoundError."""
        listed = self._list(HostMaintenance, None)
        candidates = [manifests.find_named(text, listed) or manifests.find_maintenance(text, listed)]
        with suppress(NotFoundError):
            candidates.append(self.kube.get(VMMigration, self.namespace, text))
        bodies = [body for body in candidates if body is not None]
        if not bodies:
            raise NotFoundError(
                f"no HostMaintenance is for or named {text}, and no VMMigration in the namespace {self.namespace}"
            )
        return bodies

    def _list(self, kind: Kind, namespace: str | None) -> list[Body]:
        """List objects with their kind, which the items of a list response may lack."""
        return [{"kind": kind.KIND, **body} for body in self.kube.list(kind, namespace)]

    def _readable(self, body: Body) -> Object | None:
        """Read an object. An object that this program cannot read becomes a note, so that the others are still
        shown."""
        try:
            return read(body)
        except FerryError as error:
            self._note(str(error))
            return None

    def _again(self, body: Body, kind: Kind) -> Body:
        metadata = body["metadata"]
        return self.kube.get(kind, metadata.get("namespace", ""), metadata["name"])

    def _see_through(self, body: Body, kind: Kind, verb: str) -> ExitStatus:
        """Report that the object was created; with --wait or --watch, wait and report the result."""
        dry = " (server dry run)" if self._dry_run else ""
        waits = self._args.wait or self._args.watch
        if not waits:
            self._write([body], lambda: [f"{short(body)} {verb}{dry}"])
            return ExitStatus.ALL_OK
        self._say(f"{short(body)} {verb}")
        stays = f"{full_name(kind.KIND, body['metadata'])} stays as it is and goes on in the cluster"
        self.left_behind = stays + page.withdrawal(read(body), before=". ")
        last, withdrawn = self._wait_or_withdraw(body, kind)
        obj = read(last)
        result = outcome(obj)
        if result.standing.exit_status is ExitStatus.ALL_OK:
            self._write([last], lambda: [page.verdict_line(obj, result, self._paint)])
            return result.standing.exit_status
        lines = page.why(obj, self._paint, stays=not withdrawn)
        if withdrawn:
            lines += [
                "",
                "The request was withdrawn: nothing of it has begun. With --keep it stays and starts by itself.",
            ]
        self._write([last], lambda: lines)
        return result.standing.exit_status

    def _wait_or_withdraw(self, body: Body, kind: Kind) -> tuple[Body, bool]:
        """Wait until the object's standing is final, and withdraw a migration that is blocked (unless `--keep`).

        Returns the last state of the object, and whether it was withdrawn.
        """
        while True:
            last = wait(partial(self._again, body, kind), body, self._waiting(self._screen()))
            if kind is not VMMigration or self._args.keep or not _is_blocked(read(last)):
                return last, False
            metadata = last["metadata"]
            try:
                version = metadata["resourceVersion"]
                self.kube.delete(kind, metadata["namespace"], metadata["name"], metadata["uid"], version)
            except NotFoundError:
                pass
            except ChangedError:  # the operator may have started it in this moment
                self._around.sleep(1.0)
                body = self._again(body, kind)
                continue
            return last, True

    def _delete(self, body: Body, kind: Kind) -> ExitStatus:
        args, metadata = self._args, body["metadata"]
        self.kube.delete(kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
        if getattr(args, "wait", False) or getattr(args, "watch", False):
            self.left_behind = f"{full_name(kind.KIND, metadata)} is marked to be deleted, and is once it is released"
            wait_until_gone(lambda: self._again(body, kind), body, self._waiting(self._screen()))
        self._write([body], lambda: [f"{short(body)} deleted"])
        return ExitStatus.ALL_OK

    def _waiting(self, screen: Screen | None) -> Waiting:
        around = self._around
        return Waiting(around.now, around.sleep, self._note, screen, self._args.wait_timeout)

    def _screen(self) -> Screen | None:
        if not self._args.watch:
            return None
        paint = Paint(wants_colour(self._people, self._around.environment))
        return Screen(self._people, self._around.environment, dress=lambda line: frame.dressed(line, paint))

    @property
    def _people(self) -> TextIO:
        """The stream for messages to people, which never mixes with data."""
        return self._around.err if self._output.data else self._around.out

    def _say(self, text: str) -> None:
        self._people.write(f"{plain(text)}\n")
        self._people.flush()

    def _note(self, text: str) -> None:
        self._around.err.write(f"note: {plain(text)}\n")
        self._around.err.flush()

    def _print_manifest(self, body: Body) -> ExitStatus:
        output = self._output if self._output.data else Output.YAML
        self._around.out.write(printed([body], output))
        return ExitStatus.ALL_OK

    def _write(self, bodies: list[Body], page: Callable[[], list[str]], *, as_list: bool = False) -> None:
        out = self._around.out
        if self._output.data:
            out.write(printed(bodies, self._output, as_list=as_list))
        else:
            lines = page()
            # a list is a wide table, which is easier to read when the terminal wraps it
            wrapped = wrap(lines, columns_of(out)) if out.isatty() and not as_list else lines
            out.write("\n".join(wrapped) + "\n")
        out.flush()


def _is_blocked(obj: Object) -> bool:
    """Whether the migration is blocked and no request was sent for it."""
    blocked = outcome(obj).standing in (Standing.BLOCKED, Standing.CANNOT_TELL)
    return blocked and not view_of(obj).begun(obj)


def _apart(parts: Iterable[list[str]]) -> list[str]:
    """Join pages, with an empty line between them."""
    lines: list[str] = []
    for part in parts:
        lines += ["", *part] if lines else part
    return lines
