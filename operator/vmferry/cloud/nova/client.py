"""The client for OpenStack. It has no cache, makes no decision, and never repeats a request that changes something.

openstacksdk logs in, finds the endpoints and transports the requests; the answers are parsed directly into the model.
Each call names its microversion. Requests that change something are sent once: `connect_retries` of openstacksdk would
also repeat a POST after a read timeout, so it is never set. A read is repeated once after a broken connection.
"""

from __future__ import annotations

from vmferry.cloud.nova.act import Actions
from vmferry.cloud.nova.hosts import HostReads
from vmferry.cloud.nova.identity import IdentityReads
from vmferry.cloud.nova.network import NetworkReads
from vmferry.cloud.nova.resmgr import ResourceManagerReads


class NovaClient(HostReads, NetworkReads, IdentityReads, ResourceManagerReads, Actions):
    """A client of one cloud, with the credentials of `cloud` in clouds.yaml or of the `OS_*` variables.

    Call `connect` first, and again if reads keep failing: it logs in again and reads the catalog. The other methods may
    then be called from any number of threads. Reads raise `CloudError`.
    """
