"""Keystone v3: tokens, the service catalog, projects and users."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from vmferry.simulator.clock import database
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import ApiError, BadRequestError, ForbiddenError, NotFoundError, UnauthorizedError
from vmferry.simulator.model import Caller, Project, User
from vmferry.simulator.web import CLOUD, Reply, base_url, read_json

DOMAIN = {"id": "default", "name": "Default"}
#: (service type, name, path); the path of compute's endpoint has no project id
SERVICES = (
    ("identity", "keystone", "/identity"),
    ("compute", "nova", "/compute/v2.1"),
    ("placement", "placement", "/placement"),
    ("image", "glance", "/image"),
    ("network", "neutron", "/network"),
    ("block-storage", "cinder", "/volume/v3"),
)
RESOURCE_MANAGER = ("resmgr", "resmgr", "/resmgr")
_DENIED = "The request you have made requires authentication."


@dataclass(frozen=True, slots=True)
class Token:
    user: User
    project: Project | None
    roles: tuple[str, ...]
    expires_at: float


class Tokens:
    """The issued tokens. `revoke_all` forces every client to log in again."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._tokens: dict[str, Token] = {}

    def issue(self, user: User, project: Project | None) -> tuple[str, Token]:
        roles = user.roles.get(project.id, ()) if project else ()
        if project is not None and not roles:
            raise UnauthorizedError(f"User {user.id} has no access to project {project.id}")
        token = Token(user, project, roles, self._cloud.now + self._cloud.settings.token_lifetime)
        name = uuid.uuid4().hex
        self._tokens[name] = token
        return name, token

    def get(self, name: str | None) -> Token:
        """Return a valid token. Raises UnauthorizedError for a missing, unknown or expired token."""
        token = self._tokens.get(name or "")
        if token is None or token.expires_at <= self._cloud.now:
            raise UnauthorizedError(_DENIED)
        return token

    def caller(self, name: str | None, request_id: str) -> Caller:
        token = self.get(name)
        return Caller(token.user.id, token.project.id if token.project else "", token.roles, request_id)

    def revoke(self, name: str) -> None:
        self._tokens.pop(name, None)

    def revoke_all(self) -> None:
        self._tokens.clear()


TOKENS: web.AppKey[Tokens] = web.AppKey("tokens", Tokens)


def unauthorized(request: web.Request) -> Reply:
    """The 401 response of keystonemiddleware, which every other service sends."""
    body = {"error": {"code": 401, "title": "Unauthorized", "message": _DENIED}}
    return Reply(401, body, {"WWW-Authenticate": f'Keystone uri="{base_url(request)}/identity"'})


def install(app: web.Application) -> None:
    routes: list[tuple[str, str, Callable[[web.Request], Awaitable[Reply]]]] = [
        ("GET", "/identity", _versions),
        ("GET", "/identity/", _versions),
        ("GET", "/identity/v3", _version),
        ("GET", "/identity/v3/", _version),
        ("POST", "/identity/v3/auth/tokens", _log_in),
        ("GET", "/identity/v3/auth/tokens", _validate),
        ("DELETE", "/identity/v3/auth/tokens", _log_out),
        ("GET", "/identity/v3/auth/catalog", _catalog),
        ("GET", "/identity/v3/projects", _projects),
        ("GET", "/identity/v3/projects/{id}", _project),
        ("GET", "/identity/v3/users", _users),
        ("GET", "/identity/v3/users/{id}", _user),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, path, _serve(handler))


def _serve(
    handler: Callable[[web.Request], Awaitable[Reply]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def served(request: web.Request) -> web.Response:
        request_id = f"req-{uuid.uuid4()}"
        try:
            reply = await handler(request)
        except ApiError as error:
            title = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}[error.status]
            body = {"error": {"code": error.status, "title": title, "message": error.message}}
            reply = Reply(error.status, body)
        return reply.response({"x-openstack-request-id": request_id, "Vary": "X-Auth-Token"})

    return served


def _document(request: web.Request) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base_url(request)}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


async def _versions(request: web.Request) -> Reply:
    return Reply(300, {"versions": {"values": [_document(request)]}})


async def _version(request: web.Request) -> Reply:
    return Reply(200, {"version": _document(request)})


async def _log_in(request: web.Request) -> Reply:
    cloud = request.app[CLOUD]
    try:
        auth = (await read_json(request))["auth"]
        method, scope = auth["identity"]["methods"][0], auth.get("scope")
    except (KeyError, TypeError, IndexError):
        raise BadRequestError("Invalid input for field 'auth': 'identity' is a required property") from None
    if method == "password":
        user = _by_password(cloud, auth["identity"].get("password", {}).get("user", {}))
    elif method == "token":
        user = request.app[TOKENS].get(auth["identity"].get("token", {}).get("id")).user
    else:
        raise UnauthorizedError(_DENIED)
    project = _scoped(cloud, scope) if isinstance(scope, dict) and "project" in scope else None
    name, token = request.app[TOKENS].issue(user, project)
    return Reply(201, _token_body(request, token), {"X-Subject-Token": name})


def _by_password(cloud: Cloud, wanted: dict[str, Any]) -> User:
    for user in cloud.users.values():
        named = wanted.get("id") == user.id or (
            wanted.get("name") == user.name and _is_default(wanted.get("domain", {}))
        )
        if named and wanted.get("password") == user.password:
            return user
    raise UnauthorizedError(_DENIED)


def _scoped(cloud: Cloud, scope: dict[str, Any]) -> Project:
    wanted = scope["project"]
    for project in cloud.projects.values():
        if wanted.get("id") == project.id:
            return project
        if wanted.get("name") == project.name and _is_default(wanted.get("domain", {})):
            return project
    raise UnauthorizedError(_DENIED)


def _is_default(domain: dict[str, str]) -> bool:
    return domain.get("id") == DOMAIN["id"] or domain.get("name", "").lower() == DOMAIN["name"].lower()


async def _validate(request: web.Request) -> Reply:
    tokens = request.app[TOKENS]
    tokens.get(request.headers.get("X-Auth-Token"))
    subject = request.headers.get("X-Subject-Token", "")
    try:
        token = tokens.get(subject)
    except UnauthorizedError:
        raise NotFoundError(f"Could not find token: {subject[:6]}….") from None
    return Reply(200, _token_body(request, token), {"X-Subject-Token": subject})


async def _log_out(request: web.Request) -> Reply:
    tokens = request.app[TOKENS]
    tokens.get(request.headers.get("X-Auth-Token"))
    tokens.revoke(request.headers.get("X-Subject-Token", ""))
    return Reply(204)


async def _catalog(request: web.Request) -> Reply:
    request.app[TOKENS].get(request.headers.get("X-Auth-Token"))
    return Reply(200, {"catalog": _services(request)})


def _services(request: web.Request) -> list[dict[str, Any]]:
    settings = request.app[CLOUD].settings
    services = [*SERVICES, RESOURCE_MANAGER] if settings.resource_manager else SERVICES
    return [
        {
            "id": uuid.uuid5(uuid.NAMESPACE_URL, kind).hex,
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{interface}").hex,
                    "interface": interface,
                    "region": settings.region,
                    "region_id": settings.region,
                    "url": base_url(request) + path,
                }
                for interface in ("public", "internal", "admin")
            ],
        }
        for kind, name, path in services
    ]


def _token_body(request: web.Request, token: Token) -> dict[str, Any]:
    body: dict[str, Any] = {
        "methods": ["password"],
        "user": {"id": token.user.id, "name": token.user.name, "domain": DOMAIN, "password_expires_at": None},
        "audit_ids": [uuid.uuid4().hex[:22]],
        "expires_at": f"{database(token.expires_at)}Z",
        "issued_at": f"{database(request.app[CLOUD].now)}Z",
    }
    if token.project is not None:
        body["project"] = {"id": token.project.id, "name": token.project.name, "domain": DOMAIN}
        body["is_domain"] = False
        body["roles"] = [{"id": uuid.uuid5(uuid.NAMESPACE_URL, role).hex, "name": role} for role in token.roles]
        body["catalog"] = _services(request)
    return {"token": body}


def _project_body(request: web.Request, project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": DOMAIN["id"],
        "description": project.description,
        "enabled": True,
        "is_domain": False,
        "parent_id": DOMAIN["id"],
        "tags": [],
        "options": {},
        "links": {"self": f"{base_url(request)}/identity/v3/projects/{project.id}"},
    }


def _user_body(request: web.Request, user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "domain_id": DOMAIN["id"],
        "enabled": True,
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{base_url(request)}/identity/v3/users/{user.id}"},
    }


def _administrator(request: web.Request, rule: str) -> Token:
    token = request.app[TOKENS].get(request.headers.get("X-Auth-Token"))
    if "admin" not in token.roles:
        raise ForbiddenError(f"You are not authorized to perform the requested action: {rule}.")
    return token


async def _projects(request: web.Request) -> Reply:
    _administrator(request, "identity:list_projects")
    name, domain = request.query.get("name"), request.query.get("domain_id")
    entries = [
        _project_body(request, project)
        for project in request.app[CLOUD].projects.values()
        if name in (None, project.name) and domain in (None, DOMAIN["id"])
    ]
    page, marker = _page(request, entries)
    url = str(request.url.update_query(marker=marker)) if marker else None
    return Reply(200, {"projects": page, "links": {"next": url, "self": str(request.url), "previous": None}})


def _page(request: web.Request, entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
    """Page by `limit` and `marker` in the order of ids, as Keystone does since 2025.1. Returns the page and the next
    marker."""
    limit, marker = request.query.get("limit", ""), request.query.get("marker")
    if not limit and marker is None:
        return entries, None
    rest = sorted(
        (entry for entry in entries if marker is None or entry["id"] > marker), key=lambda entry: str(entry["id"])
    )
    page = rest[: int(limit)] if limit.isdigit() and int(limit) else rest
    return page, page[-1]["id"] if len(page) < len(rest) else None


async def _project(request: web.Request) -> Reply:
    token = request.app[TOKENS].get(request.headers.get("X-Auth-Token"))
    project_id = request.match_info["id"]
    if token.project is None or token.project.id != project_id:
        _administrator(request, "identity:get_project")
    project = request.app[CLOUD].projects.get(project_id)
    if project is None:
        raise NotFoundError(f"Could not find project: {project_id}.")
    return Reply(200, {"project": _project_body(request, project)})


async def _users(request: web.Request) -> Reply:
    _administrator(request, "identity:list_users")
    name = request.query.get("name")
    users = [_user_body(request, user) for user in request.app[CLOUD].users.values() if name in (None, user.name)]
    return Reply(200, {"users": users, "links": {"next": None, "self": str(request.url), "previous": None}})


async def _user(request: web.Request) -> Reply:
    user_id = request.match_info["id"]
    token = request.app[TOKENS].get(request.headers.get("X-Auth-Token"))
    if token.user.id != user_id:
        _administrator(request, "identity:get_user")
    user = request.app[CLOUD].users.get(user_id)
    if user is None:
        raise NotFoundError(f"Could not find user: {user_id}.")
    return Reply(200, {"user": _user_body(request, user)})
