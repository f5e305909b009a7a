"""Settings for behaviour that differs between real clouds; set by a fleet file, changed by `/_control/settings`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Durations(BaseModel):
    """The duration of each step, in simulated seconds."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    boot: float = Field(0.5, ge=0)
    delete: float = Field(0.2, ge=0)
    power: float = Field(0.2, ge=0)
    #: from the 202 response of a live migration until its record is in the database
    migration_row: float = Field(0.05, ge=0)
    live_precheck: float = Field(0.1, ge=0)
    live_prepare: float = Field(0.2, ge=0)
    live_copy: float = Field(1.5, ge=0)
    #: the server is on its new host and has no task, but its migration is still `running`
    live_post: float = Field(0.1, ge=0)
    live_abort: float = Field(0.1, ge=0)
    live_force: float = Field(0.2, ge=0)
    cold_prepare: float = Field(0.2, ge=0)
    cold_move: float = Field(0.6, ge=0)
    cold_finish: float = Field(0.2, ge=0)
    confirm: float = Field(0.2, ge=0)
    #: the migration is `confirmed`, but the server is still VERIFY_RESIZE
    confirm_post: float = Field(0.1, ge=0)
    revert: float = Field(0.3, ge=0)
    evacuate: float = Field(0.8, ge=0)
    host_start: float = Field(0.3, ge=0)


class NovaSettings(BaseModel):
    """The configuration of the simulated Nova. Fields are named after the options of nova.conf where such an option
    exists."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    max_microversion: str = Field("2.100", pattern=r"^2\.([1-9]\d?|10[0-4])$")
    max_limit: int = Field(1000, ge=1)
    service_down_time: float = Field(8, gt=0)
    report_interval: float = Field(2, gt=0)
    max_concurrent_live_migrations: int = Field(2, ge=0)
    cpu_mode: Literal["host-model", "custom"] = "host-model"
    cpu_model: str | None = None
    default_zone: str = "nova"
    #: AggregateMultiTenancyIsolation is among the enabled filters
    multi_tenancy_isolation: bool = False
    #: `[scheduler] enable_isolated_aggregate_filtering`
    isolated_aggregates: bool = False
    #: what remains of a live copy that fails or is aborted. With `rollback` the server is ACTIVE and the migration is
    #: `failed` or `cancelled`; with `error` both end in ERROR shortly afterwards (Nova 33 after a libvirtError). No
    #: instance action event explains why
    copy_failure: Literal["rollback", "error"] = "rollback"


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    seed: int = 1
    speed: float = Field(1.0, ge=0, description="simulated seconds per real second; 0: moved by the control API")
    token_lifetime: float = Field(86400, gt=0)
    region: str = "RegionOne"
    resource_manager: bool = Field(False, description="also offer the host facts that Private Cloud Director has")
    nova: NovaSettings = NovaSettings()
    durations: Durations = Durations()
