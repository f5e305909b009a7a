"""The connection to one cloud: clouds.yaml, login, endpoints and microversions, the cloud's clock."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openstack
from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import ClientException, EndpointNotFound

from vmferry.cloud.nova import clouds_yaml
from vmferry.cloud.nova.answers import CloudError, describe, dotted
from vmferry.cloud.nova.clouds_yaml import Login
from vmferry.cloud.nova.not_now import Pauses, retry_after
from vmferry.cloud.nova.transport import DEADLINE
from vmferry.redaction import SECRETS
from vmferry.resources.base import clip

log = logging.getLogger(__name__)

#: below this version, a failed migration's reason cannot be read (2.84: details of action events)
MINIMUM = (2, 84)
#: from this version on, an evacuated server stays stopped
STAYS_STOPPED = (2, 95)

#: seconds to connect, and seconds between two bytes of an answer
TIMEOUT = (5.0, 60.0)
#: seconds for each of openstacksdk's own requests: login and version discovery
LOGIN_TIMEOUT = 20.0
#: a `Date` that differs more from the local clock is ignored
ABSURD = timedelta(days=30)
#: Nova's default page size (`max_limit`)
PAGE = 1000

#: called after each request, in the thread that sent it, with the service, the operation like `GET /servers/{id}`, the
#: HTTP status (None: no answer) and the duration in seconds
OnRequest = Callable[[str, str, int | None, float], None]


class Session:
    """The connection to one cloud, with the credentials of `cloud` in clouds.yaml or of the `OS_*` variables."""

    def __init__(
        self,
        cloud: str | None = None,
        *,
        clouds_yaml: Path | None = None,
        timeout: tuple[float, float] = TIMEOUT,
        page: int = PAGE,
        on_request: OnRequest = lambda *_: None,
        logged_in: Callable[[Login], None] = lambda _: None,
        deadline: float = DEADLINE,
    ) -> None:
        self._cloud = cloud
        self._clouds_yaml = clouds_yaml
        self._timeout = timeout
        self._page = page
        self._on_request = on_request
        self._logged_in = logged_in
        self._deadline = deadline
        self._login: Login | None = None
        #: digest of clouds.yaml at the last login attempt
        self._read: str | None = None
        self._pauses = Pauses()
        self._connected: Connected | None = None
        self._clock: tuple[datetime, float] | None = None
        self._lock = threading.Lock()
        #: number of calls by route
        self.calls: Counter[str] = Counter()

    def connect(self) -> None:
        """Log in, find the endpoints and determine the microversions. Raises `CloudError`, also below `MINIMUM`."""
        with self._timed("identity", "log in") as seen:
            self._connect()
            seen.append(HTTPStatus.OK)

    @property
    def rotated(self) -> bool:
        """Whether clouds.yaml has changed since the last login attempt: Secrets are renewed without a restart."""
        if self._read is None:
            return False  # no login was attempted yet
        now = self._digest()
        return now is not None and now != self._read

    def _digest(self) -> str | None:
        """Digest of clouds.yaml; None if no file is configured or it cannot be read."""
        if self._clouds_yaml is None:
            return None
        try:
            return hashlib.sha256(self._clouds_yaml.read_bytes()).hexdigest()
        except OSError:
            return None

    def _connect(self) -> None:
        self._read = self._digest()
        try:
            config = clouds_yaml.load(
                self._cloud,
                self._clouds_yaml,
                api_timeout=min(LOGIN_TIMEOUT, self._timeout[1]),
                deadline=self._deadline,
            )
            clouds_yaml.secure(config)
            connection = openstack.connection.Connection(config=config)
            SECRETS.follow("token of the cloud", lambda: _token(connection.session))
            user_id = connection.session.get_user_id()
            if not user_id:
                raise CloudError("the credentials name no user")
            login = clouds_yaml.settle(config)
            endpoint = connection.compute.get_endpoint_data()
            self._connected = Connected(
                compute=connection.compute,
                identity=connection.identity,
                placement=_placement(config),
                network=_unversioned(connection.session, config, "network"),
                resource_manager=_unversioned(connection.session, config, "resmgr"),
                user_id=user_id,
                maximum=_microversions(endpoint),
                cloud_id=_cloud_id(config.get_region_name("compute"), endpoint),
            )
            self._announce(login)
        except CloudError:
            raise
        except Exception as error:  # openstacksdk and keystoneauth raise errors without a common base class
            raise CloudError(f"cannot log in: {describe(error)}", retry_after=login_pause(error)) from None

    def _announce(self, login: Login) -> None:
        """Log the cloud's identity on the first login and when it changes."""
        if login != self._login:
            log.info("cloud: %s", login)
            if not login.verified:
                log.warning(
                    "clouds.yaml has verify: false for %s: certificates are not checked, so whoever is between can "
                    "read the password and answer for the cloud",
                    login.auth_url,
                )
        self._login = login
        self._logged_in(login)

    @property
    def login(self) -> Login:
        """The cloud and user of the last login. Raises `CloudError` before the first."""
        if self._login is None:
            raise CloudError("not connected")
        return self._login

    @property
    def user_id(self) -> str:
        """The operator's own user, which identifies the migrations that it requested (2.80)."""
        return self._open().user_id

    @property
    def cloud_id(self) -> str | None:
        """Region and address of Nova; no two clouds share them."""
        return self._open().cloud_id

    @property
    def verified(self) -> bool:
        """See `Login.verified`."""
        return self._login is None or self._login.verified

    @property
    def maximum(self) -> tuple[int, int]:
        """The newest microversion of the cloud's Nova."""
        return self._open().maximum

    @property
    def evacuated_stay_stopped(self) -> bool:
        """Whether an evacuated server always ends stopped (2.95), or in its former power state."""
        return self.maximum >= STAYS_STOPPED

    @property
    def tells_time(self) -> bool:
        """Whether the cloud's answers have a `Date` header."""
        return self._clock is not None

    def cloud_time(self) -> datetime:
        """The cloud's time, computed from its last `Date` header; the local time before the first."""
        if self._clock is None:
            return datetime.now(UTC)
        date, since = self._clock
        return date + timedelta(seconds=time.monotonic() - since)

    def _open(self) -> Connected:
        if self._connected is None:
            raise CloudError("not connected")
        return self._connected

    @contextmanager
    def _timed(self, service: str, route: str) -> Iterator[list[int]]:
        """Measure one request; the caller appends the HTTP status of the answer to the list."""
        with self._lock:
            self.calls[route] += 1
        operation = route.replace(f" {service} ", " ", 1)
        seen: list[int] = []
        begun = time.monotonic()
        try:
            yield seen
        except ForbiddenError:
            raise  # the request was not sent
        except BaseException:
            self._on_request(service, operation, None, time.monotonic() - begun)
            raise
        self._on_request(service, operation, int(seen[-1]), time.monotonic() - begun)

    def _read_clock(self, answer: Any) -> None:
        date = answer.headers.get("Date")
        if not date:
            return
        try:
            parsed = parsedate_to_datetime(date)
            moment = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
            absurd = abs(moment - datetime.now(UTC)) > ABSURD
        except (ValueError, TypeError, IndexError, OverflowError):
            return
        if not absurd:
            self._clock = moment, time.monotonic()


def login_pause(error: BaseException) -> float | None:
    """Seconds that Keystone requested to wait, if a rate limit caused the failed login; else None."""
    answer = getattr(error, "response", None)
    return None if answer is None else retry_after(answer)


class ForbiddenError(Exception):
    """The request was not sent; the message gives the reason."""


class Connected:
    """The result of a login; the next login replaces it as a whole."""

    def __init__(
        self,
        compute: Adapter,
        identity: Adapter,
        placement: Adapter | None,
        network: Adapter | None,
        resource_manager: Adapter | None,
        user_id: str,
        maximum: tuple[int, int],
        cloud_id: str | None = None,
    ) -> None:
        self.compute = compute
        self.identity = identity
        #: None if the catalog has no Placement
        self.placement = placement
        #: None if the catalog has no network service
        self.network = network
        #: None if the catalog has no resource manager; only PCD has it
        self.resource_manager = resource_manager
        self.user_id = user_id
        self.maximum = maximum
        self.cloud_id = cloud_id


def _token(session: Any) -> tuple[object, ...]:
    """The session's current token; does not log in."""
    return (getattr(getattr(session.auth, "auth_ref", None), "auth_token", None),)


def _placement(config: Any) -> Adapter | None:
    """Placement, if the catalog has it."""
    try:
        adapter: Adapter = config.get_session_client("placement")
        return adapter if adapter.get_endpoint() else None
    except EndpointNotFound:
        return None


def _unversioned(session: Any, config: Any, service_type: str) -> Adapter | None:
    """A service used without version discovery, if the catalog has it: the network service or PCD's resource manager.

    A problem with its endpoint must not prevent work on Nova.
    """
    adapter = Adapter(
        session,
        service_type=service_type,
        interface=config.get_interface(service_type),
        region_name=config.get_region_name(service_type),
    )
    try:
        endpoint = config.get_endpoint(service_type) or session.get_endpoint(
            service_type=service_type, interface=adapter.interface, region_name=adapter.region_name
        )
    except ClientException:
        return None
    if not endpoint:
        return None
    # the catalog may include a version in the URL; requests name the version themselves
    adapter.endpoint_override = re.sub(r"/v\d+(\.\d+)?/?$", "", endpoint.rstrip("/"))
    return adapter


def _cloud_id(region: str | None, endpoint: Any) -> str | None:
    """`RegionOne@nova.example.org:8774`"""
    address = urlsplit(str(getattr(endpoint, "url", None) or "")).netloc.rpartition("@")[2]
    return clip(f"{region or ''}@{address}", 255) if address else None


def _microversions(endpoint: Any) -> tuple[int, int]:
    """The newest microversion. Raises `CloudError` if `MINIMUM` is not supported."""
    maximum = getattr(endpoint, "max_microversion", None)
    minimum = getattr(endpoint, "min_microversion", None)
    if not maximum:
        raise CloudError("Nova tells no microversions")
    if tuple(maximum) < MINIMUM or (minimum and tuple(minimum) > MINIMUM):
        raise CloudError(
            f"Nova speaks microversions {dotted(minimum)} to {dotted(maximum)}, {dotted(MINIMUM)} is needed"
        )
    return maximum[0], maximum[1]
