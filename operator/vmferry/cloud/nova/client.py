"""Every call to OpenStack, and nothing else: no cache, no decision, no repetition of what changes something.

openstacksdk logs in, finds the endpoints and carries the bytes; the answers are parsed straight into the model.
Each call names its microversion. What changes something is sent once: `connect_retries` of openstacksdk would also
repeat a POST after a read time-out, so it is never set; a read is repeated once after a broken connection.
"""

from __future__ import annotations

from vmferry.cloud.nova.act import Actions
from vmferry.cloud.nova.hosts import HostReads
from vmferry.cloud.nova.identity import IdentityReads
from vmferry.cloud.nova.network import NetworkReads
from vmferry.cloud.nova.resmgr import ResourceManagerReads


class NovaClient(HostReads, NetworkReads, IdentityReads, ResourceManagerReads, Actions):
    """One cloud, entered with the credentials of `cloud` in clouds.yaml, or those of the `OS_*` variables.

    Call `connect` first, again whenever reads keep failing (it logs in anew and reads the catalog); the other
    methods may then be called from any number of threads. Reads raise `CloudError`.
    """
