"""What Nova refuses at once, by code and text. Nobody moves anything here, so one server serves all rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest

from testbed.tenant import Tenant
from vmferry.cloud.actions import (
    AbortMigration,
    Action,
    ColdMigrate,
    ConfirmResize,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    Refused,
    StartServer,
    StopServer,
)
from vmferry.cloud.nova import CloudError, NovaClient

Ask = Callable[[str], Action]

#: of an ACTIVE server on cmp1
ACTIVE: dict[str, tuple[Ask, int, str]] = {
    "live migration to an unknown host": (
        lambda s: LiveMigrate(s, "nope"),
        400,
        r"Compute host nope could not be found\.",
    ),
    "cold migration to an unknown host": (
        lambda s: ColdMigrate(s, "nope"),
        400,
        r"Compute host nope could not be found\.",
    ),
    "cold migration to the host it is on": (
        lambda s: ColdMigrate(s, "cmp1"),
        400,
        r"Cannot migrate to the host where the server exists\.",
    ),
    "evacuation from a host that is up": (
        lambda s: Evacuate(s, "cmp2"),
        400,
        r"Compute service of cmp1 is still in use\.",
    ),
    "evacuation to the host it is on": (lambda s: Evacuate(s, "cmp1"), 400, r"The target host can't be the same one\."),
    "evacuation to an unknown host is a 404 of the host, not of the server": (
        lambda s: Evacuate(s, "nope"),
        404,
        r"Compute host nope not found\.",
    ),
    "confirmation where nothing was resized": (
        ConfirmResize,
        409,
        r"Cannot 'confirmResize' instance .* while it is in vm_state active",
    ),
    "start of a running server": (StartServer, 409, r"Cannot 'start' instance .* while it is in vm_state active"),
    "abort where nothing migrates": (
        lambda s: AbortMigration(s, 999_999),
        409,
        r"Instance .* is in an invalid state for 'abort live migration'",
    ),
    "force complete where nothing migrates": (
        lambda s: ForceComplete(s, 999_999),
        409,
        r"Instance .* is in an invalid state for 'force_complete'",
    ),
}


@pytest.mark.parametrize("sentence", ACTIVE)
def test_of_an_active_server(sentence: str, client: NovaClient, active: str) -> None:
    ask, code, text = ACTIVE[sentence]
    check_refusal(client, ask(active), code, text)


STOPPED: dict[str, tuple[Ask, int, str]] = {
    "live migration": (
        lambda s: LiveMigrate(s, "cmp2"),
        409,
        r"Cannot 'os-migrateLive' instance .* while it is in vm_state stopped",
    ),
    "stop": (StopServer, 409, r"Cannot 'stop' instance .* while it is in vm_state stopped"),
}


@pytest.mark.parametrize("sentence", STOPPED)
def test_of_a_stopped_server(sentence: str, client: NovaClient, stopped: str) -> None:
    ask, code, text = STOPPED[sentence]
    check_refusal(client, ask(stopped), code, text)


EVERYTHING: dict[str, Ask] = {
    "live migration": lambda s: LiveMigrate(s, "cmp2"),
    "cold migration": lambda s: ColdMigrate(s, "cmp2"),
    "evacuation": lambda s: Evacuate(s, "cmp2"),
    "abort": lambda s: AbortMigration(s, 1),
    "force complete": lambda s: ForceComplete(s, 1),
    "stop": StopServer,
    "start": StartServer,
    "confirmation": ConfirmResize,
}


@pytest.mark.parametrize("sentence", EVERYTHING)
def test_of_an_unknown_server(sentence: str, client: NovaClient) -> None:
    """Stop and start look the server up in another way, and say so."""
    text = r"has no mapping to a cell\." if sentence in ("stop", "start") else r"could not be found\."
    check_refusal(client, EVERYTHING[sentence](str(uuid.uuid4())), 404, f"Instance .* {text}")


#: with its policy; stop, start and confirm are an owner's right
ADMINISTRATORS: dict[str, tuple[Ask, str]] = {
    "live migration": (EVERYTHING["live migration"], "os_compute_api:os-migrate-server:migrate_live(:host)?"),
    "cold migration": (EVERYTHING["cold migration"], "os_compute_api:os-migrate-server:migrate(:host)?"),
    "evacuation": (EVERYTHING["evacuation"], "os_compute_api:os-evacuate"),
    "abort": (EVERYTHING["abort"], "os_compute_api:servers:migrations:delete"),
    "force complete": (EVERYTHING["force complete"], "os_compute_api:servers:migrations:force_complete"),
}


@pytest.fixture(scope="module")
def own(tenant: Tenant) -> object:
    """A server of the one who is no administrator."""
    server = tenant.boot("own")
    yield server
    tenant.delete(server)


@pytest.fixture(scope="module")
def tenants_client(lab: object) -> NovaClient:
    made = NovaClient("tenant", clouds_yaml=lab.clouds_yaml)  # type: ignore[attr-defined]
    made.connect()
    return made


@pytest.mark.parametrize("sentence", ADMINISTRATORS)
def test_of_somebody_who_is_no_administrator(sentence: str, tenants_client: NovaClient, own: str) -> None:
    ask, policy = ADMINISTRATORS[sentence]
    check_refusal(tenants_client, ask(own), 403, rf"Policy doesn't allow {policy} to be performed\.")


def test_somebody_who_is_no_administrator_reads_no_hosts(tenants_client: NovaClient) -> None:
    for read in (
        tenants_client.services,
        tenants_client.hypervisors,
        tenants_client.aggregates,
        tenants_client.migrations,
    ):
        with pytest.raises(CloudError) as caught:
            read()
        assert caught.value.status == 403
    with pytest.raises(CloudError, match="all_tenants"):
        tenants_client.servers()
    assert tenants_client.resources(["some"]) is None


def check_refusal(client: NovaClient, action: Action, code: int, text: str) -> None:
    outcome = client.act(action)
    assert isinstance(outcome, Refused), outcome
    assert outcome.code == code
    assert re.search(text, outcome.message), outcome.message
    assert outcome.request_id
    assert outcome.request_id.startswith("req-")
