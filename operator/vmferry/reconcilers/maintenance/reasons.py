"""The conditions of a HostMaintenance and their reasons. docs/reference/conditions.md is generated from this file.

The conditions also use the reasons of prerequisites (`vmferry.prerequisites.enums.Reason`).
"""

from __future__ import annotations

from collections.abc import Mapping

from vmferry.resources.documented import ConditionReason

#: meaning of True, False and Unknown of each condition
CONDITIONS: Mapping[str, tuple[str, str, str]] = {
    "PrerequisitesMet": (
        "nothing blocks any server's migration",
        "something does: the message names the first server, `status.blockers` has all",
        "",
    ),
    "Cordoned": (
        "the compute service is disabled",
        "it is not, or not any more because of this resource",
        "Nova lists no such service",
    ),
    "Drained": ("verified empty, save what the spec leaves there", "servers are there, or it is not verified yet", ""),
    "Ready": ("what the spec asks for is so: in maintenance, or in service", "not yet", ""),
    "Reconciling": ("it goes on by itself", "", ""),
    "CloudUnverified": (
        "the operator's clouds.yaml has `verify: false`: the cloud's certificates are not checked "
        "([security](../security.md#what-the-cloud-may-do)). Absent otherwise",
        "",
        "",
    ),
    "Stalled": ("it needs a person; after that it goes on by itself", "", ""),
    "FalseClaims": (
        "VMMigrations that it has not created claim to belong to it; they are ignored, the message names them. "
        "Absent otherwise",
        "",
        "",
    ),
}


class MaintenanceReason(ConditionReason):
    ALL_PASSED = "AllPassed", "PrerequisitesMet", "every server that has to leave passes its prerequisites"
    CLOUD_VIEW_STALE = (
        "CloudViewStale",
        "Ready",
        "the cloud cannot be read; nothing is decided until it can",
        "see the message, and [troubleshooting](../troubleshooting.md)",
    )
    QUEUED = (
        "Queued",
        "Cordoned, Drained, Ready",
        "other hosts of the zone are in maintenance, or are earlier in the queue",
    )
    STOPPED = "Stopped", "Cordoned, Drained, Ready", "the kill switch is on", "[turn it off](../stopping.md)"
    BREAKER_OPEN = (
        "BreakerOpen",
        "Ready",
        "attempts from the host, or in the cloud, failed by a common cause",
        "repair the cause, then [close the breaker](../breaker.md)",
    )
    PREFLIGHT_ONLY = "PreflightOnly", "Cordoned, Drained", "`preflightOnly`: the host is left as it is"
    PREFLIGHT_PASSED = "PreflightPassed", "Ready", "`preflightOnly`: every server that has to leave can"
    CORDONING = "Cordoning", "Cordoned, Drained, Ready", "Nova was asked to disable the service, or is about to be"
    CORDONED = "Cordoned", "Cordoned", "this resource disabled the service"
    DISABLED_BEFORE = "DisabledBefore", "Cordoned", "the service was disabled before, and stays so on release"
    DRAINING = "Draining", "Ready", "servers are leaving; the message has the counts"
    SERVERS_REMAINING = "ServersRemaining", "Drained", "some servers remain on the host"
    NOT_EMPTY_YET = (
        "NotEmptyYet",
        "Drained, Ready",
        "no server is listed any more, but something is still tied to the host: see the message",
    )
    VERIFYING = "Verifying", "Drained, Ready", "the host was found empty once; the second check follows"
    EMPTY = "Empty", "Drained", "two consecutive checks found the host empty"
    SERVERS_STAY = "ServersStay", "Drained", "the host is empty but for the servers that the spec leaves there"
    WRITE_REFUSED = (
        "WriteRefused",
        "Cordoned, Drained, Ready",
        "Kubernetes refuses a write (a policy, a quota, rights, a webhook, a namespace that is missing or being "
        "deleted). Before the drain the host is left as it is",
        "see the message for the API server's reason",
    )
    FALSE_CLAIM = (
        "FalseClaim",
        "FalseClaims",
        "VMMigrations claim to belong to this resource, which has not created them",
        "find out who created them, and delete them",
    )
    IN_MAINTENANCE = "InMaintenance", "Ready", "work on the host"
    NOT_NOW = (
        "NotNow",
        "Cordoned, Ready",
        "the cloud limits requests; the service is disabled or enabled after the pause that the cloud asks for",
    )
    UNCORDONING = "Uncordoning", "Cordoned", "Nova was asked to enable the service"
    LEFT_DISABLED = (
        "LeftDisabled",
        "Cordoned",
        "on release: the service was disabled before, or somebody else disabled it; it stays disabled",
        "`openstack compute service set --enable` if it should be in service",
    )
    RELEASING = "Releasing", "Drained, Ready", "the host is being released"
    RETURNING = "Returning", "Ready", "servers are being brought back (`returnVMs`)"
    RELEASED = "Released", "Cordoned, Drained, Ready", "the maintenance has ended"
    IN_SERVICE = "InService", "Cordoned, Drained, Ready", "the host was never in maintenance"
    VERIFY_DISABLED = (
        "VerifyDisabled",
        "CloudUnverified",
        "clouds.yaml has `verify: false`",
        "set `cacert` and remove `verify: false`",
    )
