"""Every call to OpenStack, and nothing else: no cache, no decision, no repetition of what changes something.

openstacksdk logs in, finds the endpoints and carries the bytes; the answers are parsed straight into the model.
Each call names its microversion. What changes something is sent once: `connect_retries` of openstacksdk would also
repeat a POST after a read time-out, so it is never set; a read is repeated once after a broken connection.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import wraps
from http import HTTPStatus
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import openstack
from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import ClientException, ConnectFailure, EndpointNotFound, UnknownConnectionError
from openstack.exceptions import SDKException

from vmferry.cloud.actions import (
    AbortMigration,
    Accepted,
    Action,
    ColdMigrate,
    ConfirmResize,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    NotSent,
    Outcome,
    Refused,
    StartServer,
    StopServer,
    Unanswered,
)
from vmferry.cloud.model import (
    OPEN_STATUSES,
    Aggregate,
    Host,
    HostLook,
    Hypervisor,
    InstanceAction,
    Inventory,
    Migration,
    Progress,
    Server,
    ServerGroup,
    Service,
)
from vmferry.cloud.nova import parse, well_typed
from vmferry.redaction import redact

#: below it a failed migration's reason cannot be read (2.84: details of action events)
MINIMUM = (2, 84)
BASE = "2.84"
#: shows the zone that a server was asked for (2.96) and its image's properties (2.98)
SERVER_VIEW = (2, 98)
#: an evacuated server stays stopped
STAYS_STOPPED = (2, 95)
#: provider summaries with all resource classes (1.27) and with the provider's root (1.29)
PLACEMENT = "1.29"

#: types of ports (`binding:vnic_type`) behind which there is a device of the host
SPECIAL_PORTS = (
    "accelerator-direct",
    "accelerator-direct-physical",
    "baremetal",
    "direct",
    "direct-physical",
    "macvtap",
    "remote-managed",
    "smart-nic",
    "vdpa",
    "virtio-forwarder",
)

#: seconds to connect, seconds between two bytes of an answer
TIMEOUT = (5.0, 60.0)
#: the same for the requests that openstacksdk sends by itself: log in, look up versions
LOGIN_TIMEOUT = 20.0
#: what Nova hands out in one page unless it is configured otherwise (`max_limit`)
PAGE = 1000
#: a migration that Nova never touched since its creation has no `updated_at` and no `changes-since` shows it
NEWEST = 20
#: how long ended migrations are worth reading
RECENT = timedelta(hours=1)
#: how many hosts without a free MiB are asked for at once
PLACEMENT_THREADS = 4
#: bounds what a cloud's text may fill in statuses and logs
TEXT = 1000

T = TypeVar("T")
P = ParamSpec("P")

#: told of each request: the service, the operation like `GET /servers/{id}`, the HTTP status (None: no answer came) and
#: how many seconds it took; called in the thread that sent it
Told = Callable[[str, str, int | None, float], None]

#: what may come out of a request besides an answer
_FAILURES = (ClientException, SDKException, OSError)


#: what comes of an answer that is not what the API's reference promises
_ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


class CloudError(Exception):
    """A read failed; nothing may be concluded from it. The text is short and free of secrets."""

    def __init__(self, message: str, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        #: the HTTP status, None when there was no answer
        self.status = status
        #: how the cloud's own logs know the request; not in the text, which would differ each time
        self.request_id = request_id


def _reads(method: Callable[P, T]) -> Callable[P, T]:
    """A read of the cloud: whatever its answers hold, it brings what it promises or raises `CloudError`."""

    @wraps(method)
    def read(*args: P.args, **named: P.kwargs) -> T:
        try:
            return method(*args, **named)
        except _ODD as error:
            raise CloudError(f"cannot read {method.__name__}: {type(error).__name__} {_short(error)}") from None

    return read


class NovaDoor:
    """One cloud, entered with the credentials of `cloud` in clouds.yaml, or those of the `OS_*` variables.

    Call `connect` first, again whenever reads keep failing (it logs in anew and reads the catalog); the other
    methods may then be called from any number of threads. Reads raise `CloudError`.
    """

    def __init__(
        self,
        cloud: str | None = None,
        *,
        clouds_yaml: Path | None = None,
        timeout: tuple[float, float] = TIMEOUT,
        page: int = PAGE,
        told: Told = lambda *_: None,
    ) -> None:
        self._cloud = cloud
        self._clouds_yaml = clouds_yaml
        self._timeout = timeout
        self._page = page
        self._told = told
        self._connected: _Connected | None = None
        self._clock: tuple[datetime, float] | None = None
        self._lock = threading.Lock()
        #: calls by route
        self.calls: Counter[str] = Counter()

    def connect(self) -> None:
        """Log in, find the endpoints, settle the microversions. Raises `CloudError`, also below `MINIMUM`."""
        with self._timed("identity", "log in") as seen:
            self._connect()
            seen.append(HTTPStatus.OK)

    def _connect(self) -> None:
        secret = None
        try:
            files = [str(self._clouds_yaml)] if self._clouds_yaml else None
            config = openstack.config.OpenStackConfig(config_files=files, app_name="vmferry").get_one(
                self._cloud, api_timeout=min(LOGIN_TIMEOUT, self._timeout[1])
            )
            secret = (config.config.get("auth") or {}).get("password")
            connection = openstack.connection.Connection(config=config)
            user_id = connection.session.get_user_id()
            if not user_id:
                raise CloudError("the credentials name no user")
            endpoint = connection.compute.get_endpoint_data()
            self._connected = _Connected(
                compute=connection.compute,
                identity=connection.identity,
                placement=_placement(config),
                network=_unversioned(connection.session, config, "network"),
                resource_manager=_unversioned(connection.session, config, "resmgr"),
                user_id=user_id,
                maximum=_microversions(endpoint),
            )
        except CloudError:
            raise
        except Exception as error:  # what openstacksdk and keystoneauth raise on odd answers has no common base
            text = _describe(error)
            raise CloudError(f"cannot log in: {text.replace(secret, '***') if secret else text}") from None

    @property
    def user_id(self) -> str:
        """Our own user: migrations that carry it are ours (2.80)."""
        return self._open().user_id

    @property
    def maximum(self) -> tuple[int, int]:
        """The newest microversion of the cloud's Nova."""
        return self._open().maximum

    @property
    def evacuated_stay_stopped(self) -> bool:
        """Whether an evacuated server ends stopped whatever it was before (2.95), or as it was."""
        return self.maximum >= STAYS_STOPPED

    @property
    def tells_time(self) -> bool:
        """Whether the cloud's answers carry a `Date`."""
        return self._clock is not None

    def cloud_time(self) -> datetime:
        """The time by the cloud's own clock, going by its last `Date` header; by ours while there was none."""
        if self._clock is None:
            return datetime.now(UTC)
        date, since = self._clock
        return date + timedelta(seconds=time.monotonic() - since)

    # -- servers and their migrations

    @_reads
    def servers(self, changes_since: datetime | None = None) -> tuple[list[Server], set[str]]:
        """All servers of all projects, or those changed since and every build; and the ids of those that are gone.

        Nova shows no change of a server whose record it never touched after creating it: a build that waits for its
        host, so builds are asked for besides. It shows none of a server that is deleted without ever having been on
        a host either; and it leaves out servers of a cell that it cannot reach.
        """
        # builds first: what the list of changes says of one of them is newer
        found = {} if changes_since is None else {one.id: one for one in self.builds()}
        gone: set[str] = set()
        for raw in self._server_pages(_since(changes_since)):
            if raw["status"] in parse.GONE:
                gone.add(raw["id"])
            else:
                found[raw["id"]] = _parsed(parse.server, raw)
        return [one for one in found.values() if one.id not in gone], gone

    @_reads
    def builds(self) -> list[Server]:
        """Every server being built, of all projects; one that the scheduler has not handed over yet has no host."""
        raws = self._server_pages({"status": "BUILD"})
        return [_parsed(parse.server, raw) for raw in raws if raw["status"] not in parse.GONE]

    @_reads
    def server(self, server_id: str) -> Server | None:
        """One server now; None when Nova itself says that there is none."""
        raw = self._compute(f"/servers/{server_id}", route="/servers/{id}", microversion=self._of_servers)
        return None if raw is None else _parsed(parse.server, raw["server"])

    @_reads
    def migrations(self, changes_since: datetime | None = None) -> list[Migration]:
        """All migrations changed since; with None all open ones and those of the last hour.

        Nova forgets the migrations of a deleted server.
        """
        found: dict[str, Migration] = {}
        since = changes_since or self.cloud_time() - RECENT
        for raw in self._migration_pages(_since(since)):
            found[raw["uuid"]] = _parsed(parse.migration, raw)
        for raw in self._migration_pages({}, page=NEWEST):
            if (parse.time(raw["created_at"]) or since) < since:
                break
            found[raw["uuid"]] = _parsed(parse.migration, raw)
        if changes_since is None:
            for status in OPEN_STATUSES:
                for raw in self._migration_pages({"status": status}):
                    found[raw["uuid"]] = _parsed(parse.migration, raw)
        return list(found.values())

    @_reads
    def server_migrations(self, server_id: str) -> tuple[Migration, ...]:
        """Every migration of the server, newest first; empty for a server that is unknown or deleted."""
        raws = self._migration_pages({"instance_uuid": server_id})
        return tuple(sorted((_parsed(parse.migration, raw) for raw in raws), key=lambda m: m.id, reverse=True))

    @_reads
    def actions(self, server_id: str, request_id: str | None = None) -> tuple[InstanceAction, ...]:
        """What was asked of the server, newest first; the action of `request_id`, or else the newest one, comes with
        its events. Empty for a server that is unknown.
        """
        path = f"/servers/{server_id}/os-instance-actions"
        raw = self._compute(path, route="/servers/{id}/os-instance-actions")
        if raw is None:
            return ()
        found = [_parsed(parse.action, one) for one in raw["instanceActions"]]
        wanted = request_id or (found[0].request_id if found else None)
        if any(one.request_id == wanted for one in found):
            told = self._compute(f"{path}/{wanted}", route="/servers/{id}/os-instance-actions/{request}")
            if told is not None:
                full = _parsed(parse.action, told["instanceAction"])
                found = [full if one.request_id == wanted else one for one in found]
        return tuple(found)

    @_reads
    def progress(self, server_id: str, migration_id: int) -> Progress | None:
        """How far a live migration's copy is; None before it is queued, after it ended and for other kinds."""
        try:
            raw = self._compute(
                f"/servers/{server_id}/migrations/{migration_id}", route="/servers/{id}/migrations/{migration}"
            )
        except CloudError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return None if raw is None else _parsed(parse.progress, raw["migration"])

    # -- hosts

    @_reads
    def services(self) -> list[Service]:
        """Every nova-compute service."""
        raw = self._must("/os-services", {"binary": "nova-compute"})
        return [_parsed(parse.service, one) for one in raw["services"]]

    @_reads
    def hypervisors(self) -> list[Hypervisor]:
        """Every hypervisor. Not above 2.87: from 2.88 on Nova asks each host for its uptime meanwhile."""
        raws = self._pages("/os-hypervisors/detail", "hypervisors", "id", {})
        return [_parsed(parse.hypervisor, raw) for raw in raws]

    @_reads
    def aggregates(self) -> list[Aggregate]:
        """Every host aggregate."""
        return [_parsed(parse.aggregate, raw) for raw in self._must("/os-aggregates")["aggregates"]]

    @_reads
    def server_groups(self) -> list[ServerGroup]:
        """The server groups of all projects. Nova pages them by offset and tells no end but an empty page."""
        found: list[ServerGroup] = []
        while True:
            query = {"all_projects": "1", "limit": str(self._page), "offset": str(len(found))}
            raws = self._must("/os-server-groups", query)["server_groups"]
            if not raws:
                return found
            found += [_parsed(parse.server_group, raw) for raw in raws]

    @_reads
    def projects(self) -> dict[str, str]:
        """Project names by id; empty where we may not list them."""
        found: dict[str, str] = {}
        path: str | None = "/projects"
        while path:
            answer = self._get(self._open().identity, path, "GET /projects", {})
            if answer.status_code == HTTPStatus.FORBIDDEN:
                return {}
            raw = _body(answer, "GET /projects")
            found.update((project["id"], project["name"]) for project in raw["projects"])
            path = (raw.get("links") or {}).get("next")
        return found

    @_reads
    def ports(self) -> dict[str, tuple[str, ...]] | None:
        """By server id the types of its ports that are not `normal` ones, sorted; None where Neutron does not tell us.

        Empty where the catalog has no network service. Neutron shows all ports to an administrator only. Not every
        Neutron heeds the filter: what comes back is filtered again.
        """
        network = self._open().network
        if network is None:
            return {}
        found: dict[str, set[str]] = {}
        asked: dict[str, Any] = {
            "fields": ["id", "device_id", "binding:vnic_type"],
            "binding:vnic_type": list(SPECIAL_PORTS),
            "limit": str(self._page),
        }
        while True:
            answer = self._get(network, "/v2.0/ports", "GET network /ports", asked)
            if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                return None
            raw = _body(answer, "GET network /ports")
            for server_id, kind in _parsed(parse.ports, raw):
                if server_id and kind in SPECIAL_PORTS:
                    found.setdefault(server_id, set()).add(kind)
            if not raw["ports"] or not any(link.get("rel") == "next" for link in raw.get("ports_links") or ()):
                return {server_id: tuple(sorted(kinds)) for server_id, kinds in found.items()}
            asked["marker"] = raw["ports"][-1]["id"]

    @_reads
    def resources(self, providers: Collection[str]) -> dict[str, parse.Resources] | None:
        """What Placement tells of the providers (hypervisor UUIDs); None where it cannot be asked.

        One question for 1 MiB of memory brings every provider that has one, disabled ones too, with all its
        resources, those of its children as well; only full ones are asked for one by one. Who holds room for others
        (a shared storage's disk space) is asked for by its trait.
        """
        placement = self._open().placement
        if placement is None:
            return None
        try:
            raw = self._placement(placement, "/allocation_candidates", {"resources": "MEMORY_MB:1"})
            if raw is None:
                return None
            found = _parsed(parse.candidate_resources, raw)
            missing = [provider for provider in providers if provider not in found]
            if missing:
                with ThreadPoolExecutor(PLACEMENT_THREADS) as pool:
                    told = pool.map(lambda provider: self._provider(placement, provider), missing)
                    found.update({p: one for p, one in zip(missing, told, strict=True) if one is not None})
            return parse.with_shared(found, self._sharing(placement))
        except CloudError as error:
            if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_ACCEPTABLE):
                return None
            raise

    @_reads
    def hosts(self) -> dict[str, Host]:
        """Every compute host by its name."""
        hypervisors = self.hypervisors()
        resources = self.resources([hypervisor.id for hypervisor in hypervisors])
        return parse.join_hosts(self.services(), hypervisors, self.aggregates(), resources)

    @_reads
    def host_look(self, host: str, hypervisor: str | None = None) -> tuple[HostLook, list[Server]]:
        """Everything that shows whether the host (a service's exact name, I1) is empty (I20), and the servers that
        were seen: those on it and all builds. `hypervisor` is its UUID; without it, it is looked up first.

        The order is what makes it safe. A server on its way to the host holds room there first, then it is a build
        or a migration, and at last it is on the host: reading in the same order meets it in one of these places
        whatever happens meanwhile.
        """
        found = hypervisor or _unless_forbidden(self._hypervisor_of, host)
        allocated = None if found is None else _unless_forbidden(self.consumers, found)
        on_hypervisor = None if found is None else _unless_forbidden(self.servers_on_hypervisor, found)
        migrations = self.host_migrations(host)
        builds = self.builds()
        servers = [_parsed(parse.server, raw) for raw in self._server_pages({"host": host})]
        service = self.service(host)
        look = HostLook(
            host=host,
            read_at=datetime.now(UTC),
            service=service,
            servers=frozenset(one.id for one in servers),
            on_hypervisor=on_hypervisor,
            allocated=allocated,
            migrations=tuple(one for one in migrations if one.open),
        )
        # of one that is in both lists the later word counts
        return look, list({one.id: one for one in (*builds, *servers)}.values())

    @_reads
    def service(self, host: str) -> Service | None:
        """The nova-compute service of exactly that name; None when Nova lists none."""
        raw = self._must("/os-services", {"binary": "nova-compute", "host": host})
        return next((_parsed(parse.service, one) for one in raw["services"] if one.get("host") == host), None)

    @_reads
    def host_migrations(self, host: str) -> list[Migration]:
        """Every migration from the host or to it, newest first, ended ones too.

        Not only those with a status word that we know to be open: an unknown one counts as open (I35).
        """
        return [_parsed(parse.migration, raw) for raw in self._migration_pages({"host": host})]

    @_reads
    def servers_on_hypervisor(self, hypervisor: str) -> frozenset[str]:
        """The servers that the hypervisor's record lists, soft-deleted ones too (2.75: also when there are none)."""
        path = f"/os-hypervisors/{hypervisor}"
        raw = self._compute(path, {"with_servers": "true"}, route="/os-hypervisors/{id}")
        if raw is None:
            raise CloudError(f"GET {path}: Nova does not know it", HTTPStatus.NOT_FOUND)
        return _parsed(parse.hypervisor_servers, raw)

    @_reads
    def consumers(self, provider: str) -> frozenset[str] | None:
        """Who holds room of a provider (a hypervisor's UUID): servers, and migrations that hold their source.

        None where there is no Placement, and where Placement itself does not know the provider.
        """
        placement = self._open().placement
        if placement is None:
            return None
        route = "GET placement /resource_providers/{id}/allocations"
        answer = self._get(placement, f"/resource_providers/{provider}/allocations", route, {}, PLACEMENT)
        if answer.status_code == HTTPStatus.NOT_FOUND and _fault(answer) is not None:
            return None
        return _parsed(parse.consumers, _body(answer, route))

    def _hypervisor_of(self, host: str) -> str | None:
        return next((one.id for one in self.hypervisors() if one.service_host == host), None)

    def resource_manager(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON at a path of PCD's resource manager, like `/v2/hosts`; None where the catalog has none."""
        adapter = self._open().resource_manager
        if adapter is None:
            return None
        answer = self._get(adapter, path, f"GET resmgr {path}", query or {})
        if answer.status_code != HTTPStatus.OK:
            raise CloudError(f"GET resmgr {path}: HTTP {answer.status_code} {_snippet(answer)}", answer.status_code)
        try:
            return answer.json()
        except ValueError:
            raise CloudError(f"GET resmgr {path}: the answer is no JSON: {_snippet(answer)}") from None

    # -- acts

    def act(self, action: Action, forbidden: Callable[[], str | None] = lambda: None) -> Outcome:
        """Ask once. Whatever leaves it open whether Nova took the request is `Unanswered`.

        `forbidden` is asked in this thread, right before the request is handed to its connection, when the token is
        there already: says it why, the request is not sent. After a 401 it is asked again.

        A refusal must be Nova's own (or its gatekeeper's): a 4xx whose body is an OpenStack fault. A 4xx without one
        comes from something in between, and a 5xx never says for sure that nothing happened, 503 included: a load
        balancer writes it for a request that it lost half-way too. Looking it up costs little, asking twice may
        cost a server.
        """
        try:
            connected = self._open()
        except CloudError as error:
            return Unanswered(str(error))
        method, path, body, route = _request(action)
        # 2.84 of a live migration: answered at once (2.34), the scheduler is heard (2.30, no `force` since 2.68)
        microversion = BASE
        if isinstance(action, Evacuate) and not action.start and self.evacuated_stay_stopped:
            microversion = f"{STAYS_STOPPED[0]}.{STAYS_STOPPED[1]}"
        try:
            with self._timed("compute", f"{method} {route}") as seen:
                answer = connected.compute.request(
                    path,
                    method,
                    json=body,
                    microversion=microversion,
                    raise_exc=False,
                    timeout=self._timeout,
                    requests_auth=_LastWord(forbidden),
                )
                seen.append(answer.status_code)
        except _ForbiddenError as error:
            return NotSent(str(error))
        except _FAILURES as error:
            return Unanswered(_describe(error))
        self._read_clock(answer)
        request_id = _request_id(answer)
        status = answer.status_code
        if 200 <= status < 300:
            return Accepted(request_id)
        fault = _fault(answer)
        if 400 <= status < 500 and fault is not None:
            return Refused(status, fault, request_id)
        return Unanswered(f"HTTP {status}: {fault or _snippet(answer)}", request_id)

    # -- requests

    def _open(self) -> _Connected:
        if self._connected is None:
            raise CloudError("not connected")
        return self._connected

    @contextmanager
    def _timed(self, service: str, route: str) -> Iterator[list[int]]:
        """One request; the HTTP status of its answer is to be put into the list."""
        with self._lock:
            self.calls[route] += 1
        operation = route.replace(f" {service} ", " ", 1)
        seen: list[int] = []
        begun = time.monotonic()
        try:
            yield seen
        except _ForbiddenError:
            raise  # it was not sent
        except BaseException:
            self._told(service, operation, None, time.monotonic() - begun)
            raise
        self._told(service, operation, int(seen[-1]), time.monotonic() - begun)

    def _read_clock(self, answer: Any) -> None:
        date = answer.headers.get("Date")
        if not date:
            return
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        self._clock = told.replace(tzinfo=UTC) if told.tzinfo is None else told, time.monotonic()

    def _get(
        self, adapter: Adapter, path: str, route: str, query: Mapping[str, Any], microversion: str | None = None
    ) -> Any:
        """One GET, once more after a broken connection; any answer."""
        for last in (False, True):
            try:
                with self._timed(str(adapter.service_type), route) as seen:
                    answer = adapter.request(
                        path,
                        "GET",
                        params=dict(query),
                        microversion=microversion,
                        raise_exc=False,
                        timeout=self._timeout,
                    )
                    seen.append(answer.status_code)
                    return answer
            except (ConnectFailure, UnknownConnectionError) as error:
                if last:
                    raise CloudError(f"{route}: {_describe(error)}") from None
            except _FAILURES as error:
                raise CloudError(f"{route}: {_describe(error)}") from None
        raise AssertionError("unreachable")

    def _compute(
        self, path: str, query: Mapping[str, str] | None = None, *, route: str, microversion: str = BASE
    ) -> Any:
        """A page of Nova; None when Nova itself says 404. A 404 of anything in between is a failure (I4)."""
        route = f"GET {route}"
        answer = self._get(self._open().compute, path, route, query or {}, microversion)
        self._read_clock(answer)
        if answer.status_code == HTTPStatus.NOT_FOUND and _fault(answer) is not None:
            return None
        return _body(answer, route)

    def _must(self, path: str, query: Mapping[str, str] | None = None, *, microversion: str = BASE) -> Any:
        """A page of Nova that has to be there."""
        raw = self._compute(path, query, route=path, microversion=microversion)
        if raw is None:
            raise CloudError(f"GET {path}: Nova does not know it", HTTPStatus.NOT_FOUND)
        return raw

    def _pages(
        self,
        path: str,
        member: str,
        marker: str,
        query: Mapping[str, str],
        *,
        page: int | None = None,
        microversion: str = BASE,
    ) -> Iterator[parse.Json]:
        """All entries of a list, page by page."""
        asked = {**query, "limit": str(page or self._page)}
        while True:
            raw = self._must(path, asked, microversion=microversion)
            entries = raw[member]
            yield from entries
            if not entries or not raw.get(f"{member}_links"):
                return
            asked["marker"] = entries[-1][marker]

    @property
    def _of_servers(self) -> str:
        """The microversion of everything that shows servers."""
        return _dotted(min(self.maximum, SERVER_VIEW))

    def _server_pages(self, query: Mapping[str, str]) -> Iterator[parse.Json]:
        asked = {"all_tenants": "1", **query}
        return self._pages("/servers/detail", "servers", "id", asked, microversion=self._of_servers)

    def _migration_pages(self, query: Mapping[str, str], *, page: int | None = None) -> Iterator[parse.Json]:
        return self._pages("/os-migrations", "migrations", "uuid", query, page=page)

    def _placement(self, adapter: Adapter, path: str, query: Mapping[str, str], *, route: str = "") -> Any:
        """A page of Placement; None when Placement says 404."""
        route = f"GET placement {route or path}"
        answer = self._get(adapter, path, route, query, PLACEMENT)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else _body(answer, route)

    def _provider(self, adapter: Adapter, provider: str) -> parse.Resources | None:
        """The resources of one provider's tree; None when Placement does not know it."""
        tree = self._placement(adapter, "/resource_providers", {"in_tree": provider})
        ids = [one["uuid"] for one in (tree or {}).get("resource_providers", ())]
        traits = self._of_provider(adapter, provider, "traits")
        if provider not in ids or traits is None:
            return None
        parts = [self._inventories(adapter, one) for one in ids]
        return parse.provider_resources([part for part in parts if part is not None], traits)

    def _sharing(self, adapter: Adapter) -> list[parse.SharingProvider]:
        """Every sharing provider, with who may take of it."""
        raw = self._placement(adapter, "/resource_providers", {"required": "MISC_SHARES_VIA_AGGREGATE"})
        found = []
        for one in (raw or {}).get("resource_providers", ()):
            inventories = self._inventories(adapter, one["uuid"])
            aggregates = (self._of_provider(adapter, one["uuid"], "aggregates") or {}).get("aggregates")
            if not inventories or not aggregates:
                continue
            members = self._placement(
                adapter, "/resource_providers", {"member_of": f"in:{','.join(sorted(aggregates))}"}
            )
            ids = frozenset(member["uuid"] for member in (members or {}).get("resource_providers", ()))
            found.append(parse.SharingProvider(one["uuid"], inventories, ids - {one["uuid"]}))
        return found

    def _inventories(self, adapter: Adapter, provider: str) -> dict[str, Inventory] | None:
        """What one provider has itself; None when Placement does not know it."""
        inventories = self._of_provider(adapter, provider, "inventories")
        usages = self._of_provider(adapter, provider, "usages")
        return None if inventories is None or usages is None else parse.provider_inventories(inventories, usages)

    def _of_provider(self, adapter: Adapter, provider: str, page: str) -> Any:
        return self._placement(
            adapter, f"/resource_providers/{provider}/{page}", {}, route=f"/resource_providers/{{id}}/{page}"
        )


class _ForbiddenError(Exception):
    """The request was not sent; the message says why."""


class _LastWord:
    """requests calls it, as a way to authenticate, with each request that is ready to be sent."""

    def __init__(self, forbidden: Callable[[], str | None]) -> None:
        self._forbidden = forbidden

    def __call__(self, request: Any) -> Any:
        why = self._forbidden()
        if why is not None:
            raise _ForbiddenError(why)
        return request


class _Connected:
    """What a login brings; replaced as a whole by the next one."""

    def __init__(
        self,
        compute: Adapter,
        identity: Adapter,
        placement: Adapter | None,
        network: Adapter | None,
        resource_manager: Adapter | None,
        user_id: str,
        maximum: tuple[int, int],
    ) -> None:
        self.compute = compute
        self.identity = identity
        #: None where the catalog has no Placement
        self.placement = placement
        #: None where the catalog has no network service
        self.network = network
        #: None where the catalog has no resource manager: only PCD's has
        self.resource_manager = resource_manager
        self.user_id = user_id
        self.maximum = maximum


def _placement(config: Any) -> Adapter | None:
    """Placement, if the catalog has it."""
    try:
        adapter: Adapter = config.get_session_client("placement")
        return adapter if adapter.get_endpoint() else None
    except EndpointNotFound:
        return None


def _unversioned(session: Any, config: Any, service_type: str) -> Adapter | None:
    """A service whose versions are not looked up, if the catalog has it: the network's, or PCD's resource manager.

    Whatever is odd about it is no reason not to work on Nova.
    """
    adapter = Adapter(
        session,
        service_type=service_type,
        interface=config.get_interface(service_type),
        region_name=config.get_region_name(service_type),
    )
    try:
        endpoint = session.get_endpoint(
            service_type=service_type, interface=adapter.interface, region_name=adapter.region_name
        )
    except ClientException:
        return None
    if not endpoint:
        return None
    # the catalog may name one of its versions: we name it ourselves
    adapter.endpoint_override = re.sub(r"/v\d+(\.\d+)?/?$", "", endpoint.rstrip("/"))
    return adapter


def _microversions(endpoint: Any) -> tuple[int, int]:
    """The newest microversion, checked against what we need."""
    maximum = getattr(endpoint, "max_microversion", None)
    minimum = getattr(endpoint, "min_microversion", None)
    if not maximum:
        raise CloudError("Nova tells no microversions")
    if tuple(maximum) < MINIMUM or (minimum and tuple(minimum) > MINIMUM):
        raise CloudError(
            f"Nova speaks microversions {_dotted(minimum)} to {_dotted(maximum)}, {_dotted(MINIMUM)} is needed"
        )
    return maximum[0], maximum[1]


def _dotted(version: Any) -> str:
    return ".".join(str(part) for part in version) if version else "?"


def _unless_forbidden(read: Callable[[str], T | None], name: str) -> T | None:
    """What `read` brings; None where we lack the right to read it. Raises `CloudError` for any other failure."""
    try:
        return read(name)
    except CloudError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise


def _since(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"changes-since": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _parsed(parser: Callable[[parse.Json], T], raw: parse.Json) -> T:
    """Raises `CloudError` for an entry that is not what the API's reference promises."""
    try:
        found = parser(raw)
        well_typed.check(found)
        return found
    except parse.PartialAnswerError as error:
        raise CloudError(str(error)) from None
    except _ODD as error:
        raise CloudError(f"cannot read a {parser.__name__}: {type(error).__name__} {_short(error)}") from None


def _body(answer: Any, route: str) -> Any:
    """The JSON of a 200. Raises `CloudError` for anything else."""
    if answer.status_code != HTTPStatus.OK:
        text = _fault(answer) or _snippet(answer)
        raise CloudError(f"{route}: HTTP {answer.status_code} {text}", answer.status_code, _request_id(answer))
    try:
        body = answer.json()
    except ValueError:
        raise CloudError(f"{route}: the answer is no JSON: {_snippet(answer)}", answer.status_code) from None
    if not isinstance(body, dict):
        raise CloudError(f"{route}: the answer is no JSON object", answer.status_code)
    return body


def _fault(answer: Any) -> str | None:
    """The text of an OpenStack fault (`{"conflictingRequest": {"code": 409, "message": …}}`); None if it is none."""
    try:
        body = answer.json()
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    # Placement and the microversion middleware answer {"errors": [{"detail": …}]}
    errors = body.get("errors")
    faults = errors if isinstance(errors, list) else list(body.values())
    for fault in faults:
        if isinstance(fault, dict):
            text = fault.get("message") or fault.get("detail")
            if isinstance(text, str):
                return redact(text.strip())[:TEXT]
    return None


def _snippet(answer: Any) -> str:
    """The beginning of an answer that is no OpenStack fault."""
    return redact(" ".join(str(answer.text).split()))[:200] or "(empty)"


def _short(error: BaseException) -> str:
    """Its words in one line, for they may quote the answer."""
    return " ".join(str(error).split())[:200]


def _describe(error: BaseException) -> str:
    """An exception in one short line."""
    return redact(f"{type(error).__name__}: {' '.join(str(error).split())}")[:300]


def _request_id(answer: Any) -> str | None:
    found = answer.headers.get("x-openstack-request-id") or answer.headers.get("x-compute-request-id")
    return None if found is None else str(found)


def _request(action: Action) -> tuple[str, str, dict[str, Any] | None, str]:
    """Method, path, body and route of an action."""
    body: dict[str, Any]
    match action:
        case AbortMigration():
            path = f"/servers/{action.server_id}/migrations/{action.migration_id}"
            return "DELETE", path, None, "/servers/{id}/migrations/{migration}"
        case ForceComplete():
            path = f"/servers/{action.server_id}/migrations/{action.migration_id}/action"
            return "POST", path, {"force_complete": None}, "/servers/{id}/migrations/{migration}/action"
        case DisableService():
            body = {"status": "disabled", "disabled_reason": action.reason}
            return "PUT", f"/os-services/{action.service_id}", body, "/os-services/{id} disabled"
        case EnableService():
            # never `forced_down`: Nova keeps what is not named (I8, I11)
            return "PUT", f"/os-services/{action.service_id}", {"status": "enabled"}, "/os-services/{id} enabled"
        case LiveMigrate():
            body = {"os-migrateLive": {"host": action.target_host, "block_migration": "auto"}}
        case ColdMigrate():
            body = {"migrate": {"host": action.target_host}}
        case Evacuate():
            body = {"evacuate": {"host": action.target_host}}
        case StopServer():
            body = {"os-stop": None}
        case StartServer():
            body = {"os-start": None}
        case ConfirmResize():
            body = {"confirmResize": None}
    return "POST", f"/servers/{action.server_id}/action", body, f"/servers/{{id}}/action {next(iter(body))}"
