"""The checks of each migration type, in order. A new prerequisite is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites import (
    availability_zone,
    bandwidth,
    capacity,
    cpu_model,
    devices,
    hypervisor_version,
    operating_system,
    power_state,
    server_group,
    server_lock,
    server_task,
    source_host,
    storage,
    target_host,
)
from vmferry.prerequisites.check import About, Prerequisite
from vmferry.prerequisites.enums import Name

_ALL = frozenset(ResolvedType)

#: each prerequisite and the types that it applies to, in the order of the status
TABLE: tuple[tuple[Prerequisite, frozenset[ResolvedType]], ...] = (
    (Prerequisite(Name.POWER_STATE, About.SERVER, power_state.check), _ALL),
    (Prerequisite(Name.SOURCE_HOST, About.SERVER, source_host.check), _ALL),
    (Prerequisite(Name.SERVER_LOCK, About.SERVER, server_lock.check), _ALL),
    (Prerequisite(Name.SERVER_TASK, About.SERVER, server_task.check), _ALL),
    (Prerequisite(Name.DEVICES, About.SERVER, devices.check), _ALL),
    (Prerequisite(Name.TARGET_HOST, About.TARGET, target_host.check), _ALL),
    (Prerequisite(Name.AVAILABILITY_ZONE, About.TARGET, availability_zone.check), _ALL),
    (Prerequisite(Name.CPU_MODEL, About.TARGET, cpu_model.check), _ALL),
    (Prerequisite(Name.OPERATING_SYSTEM, About.TARGET, operating_system.check), _ALL),
    (Prerequisite(Name.HYPERVISOR_VERSION, About.TARGET, hypervisor_version.check), _ALL),
    (Prerequisite(Name.STORAGE, About.TARGET, storage.check), _ALL),
    (Prerequisite(Name.CAPACITY, About.TARGET, capacity.check), _ALL),
    (Prerequisite(Name.SERVER_GROUP, About.TARGET, server_group.check), _ALL),
    (Prerequisite(Name.BANDWIDTH, About.TARGET, bandwidth.check), frozenset({ResolvedType.LIVE, ResolvedType.COLD})),
)

CHAINS: Mapping[ResolvedType, tuple[Prerequisite, ...]] = {
    type_: tuple(prerequisite for prerequisite, types in TABLE if type_ in types) for type_ in ResolvedType
}
