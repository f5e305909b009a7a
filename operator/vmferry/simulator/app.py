"""Builds the HTTP application of a simulated cloud."""

from __future__ import annotations

from aiohttp import web

from vmferry.simulator import control, faults, keystone, network, placement, resource_manager, storage
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import no_such_resource
from vmferry.simulator.keystone import TOKENS, Tokens
from vmferry.simulator.nova import service as nova
from vmferry.simulator.web import CLOUD, Reply


def make_app(cloud: Cloud, control_token: str) -> web.Application:
    """Return an application that serves all services of the cloud, below /identity, /compute, /placement, /image,
    /volume, /network, /resmgr and /_control."""
    app = web.Application(middlewares=[faults.middleware], client_max_size=4 * 2**20)
    app[CLOUD] = cloud
    app[control.TOKEN] = control_token
    app[TOKENS] = Tokens(cloud)
    app[faults.FAULTS] = faults.Faults()
    app[faults.EARLIER] = faults.Earlier()
    app[faults.REQUESTS] = faults.Requests()
    for module in (keystone, nova, placement, storage, network, resource_manager, control):
        module.install(app)
    app.router.add_route("*", "/{path:.*}", _nothing_here)
    return app


async def _nothing_here(request: web.Request) -> web.Response:
    error = no_such_resource()
    return Reply(error.status, nova.fault(error.status, error.message)).response({})
