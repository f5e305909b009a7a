"""What all custom resources share: camelCase fields, metadata, conditions, durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel as pydantic_camel

GROUP = "vmferry.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

#: six digits each: what is longer is no deadline, and would not fit into a date
_NUMBER = "[0-9]{1,6}"
_MOST = 999_999
_DURATION = re.compile(rf"(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?")
#: characters of a wrong value that an error repeats
_SHOWN = 64
#: the same rule for the API server: hours, minutes, seconds in this order, at least one of them
DURATION_PATTERN = f"^({_NUMBER}h({_NUMBER}m)?({_NUMBER}s)?|{_NUMBER}m({_NUMBER}s)?|{_NUMBER}s)$"


def parse_duration(text: object) -> timedelta:
    """`1h30m`, `90s` to a timedelta. Raises ValueError with a sentence that says what to write."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or not match.group(0):
        raise ValueError(f"{shown(text)} is not a duration: write hours, minutes and seconds like 30m, 1h30m or 90s")
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def shown(value: object) -> str:
    """A wrong value in an error's sentence, quoted. No list or mapping: it may be endless, or hold a secret."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    # Python does not print thousands of digits
    return "such a number" if isinstance(value, int) and abs(value) > 2**63 else repr(value)[:_SHOWN]


def format_duration(span: timedelta) -> str:
    """What `parse_duration` reads: no number is longer than it may be."""
    left = int(span.total_seconds())
    hours = min(left // 3600, _MOST)
    minutes = min((left - hours * 3600) // 60, _MOST)
    seconds = left - hours * 3600 - minutes * 60
    parts = [f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if n]
    return "".join(parts) or "0s"


def format_time(moment: datetime) -> str:
    """As Kubernetes writes times: UTC, whole seconds, Z."""
    # strftime would write the year 1 with one digit
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": DURATION_PATTERN, "maxLength": 21, "format": None}),
]

#: the generation that was acted on where the object was never reconciled. kstatus takes an object that says nothing
#: for one that is done; this one is not: the API server gives it to every new object (R33)
NOT_SEEN = -1
ObservedGeneration = Annotated[
    int | None,
    Field(ge=NOT_SEEN, description="The generation of the spec that was reconciled; -1 before the first reconcile."),
]

Time = Annotated[datetime, PlainSerializer(format_time, return_type=str)]


def _with_a_zone(moment: datetime) -> datetime:
    """The API server accepts a time without a zone; it is UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


#: a time that a person writes
Moment = Annotated[Time, AfterValidator(_with_a_zone)]


def to_camel(name: str) -> str:
    """`request_id` to `requestID`: camelCase, with the initialism in capitals as Kubernetes writes it."""
    return re.sub(r"(?<=[a-z])Id$", "ID", pydantic_camel(name))


def clip(text: str, length: int = 1024) -> str:
    """Fit a text of any origin into a bounded status field: one line, no control characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    clean = " ".join(text.split())
    return clean if len(clean) <= length else clean[: length - 1] + "…"


class Model(BaseModel):
    """A part of a custom resource. Unknown fields are ignored: an older operator may read a newer object."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", use_enum_values=False)

    def __deepcopy__(self, memo: object = None) -> Self:
        """As pydantic's, without the book of what was met already, which costs most: nothing in here is met twice."""
        new = self.__copy__()
        for name, value in new.__dict__.items():
            if isinstance(value, Model | list | dict):
                new.__dict__[name] = _private(value)
        return new

    def to_json(self) -> dict[str, Any]:
        """The JSON object as Kubernetes stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _private(value: Any) -> Any:
    """A copy that shares nothing with `value` that could be changed."""
    if isinstance(value, Model):
        return value.__deepcopy__()
    if isinstance(value, list):
        return [_private(one) for one in value]
    if isinstance(value, dict):
        return {name: _private(one) for name, one in value.items()}
    return value


class OwnerReference(Model):
    """Who an object belongs to."""

    api_version: str = ""
    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(Model):
    """The part of `metadata` that decisions need."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 1
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    finalizers: list[str] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []


class Condition(Model):
    """A condition as the Kubernetes API conventions have it."""

    type: Annotated[str, Field(max_length=64, description="What the condition is about.")]
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", description="True, False or Unknown.")]
    observed_generation: Annotated[
        int | None, Field(ge=0, description="The generation of the spec to which the condition applies.")
    ] = None
    last_transition_time: Annotated[Time, Field(description="When the status last changed.")]
    reason: Annotated[
        str,
        Field(
            max_length=128,
            pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            description="Reason for programs, one word.",
        ),
    ]
    message: Annotated[str, Field(max_length=2048, description="Explanation for people.")]


def keyed_by(*fields: str) -> dict[str, Any]:
    """For `json_schema_extra` of a list whose items are told apart by these fields; two of one key are refused."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(fields)}


class Resource(Model):
    """A whole object; each kind narrows `spec` and `status` to its own models."""

    KIND: ClassVar[str]

    metadata: Metadata
    spec: Model
    status: Model

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """From the API server's JSON. Raises pydantic's ValidationError when it is not what the schema says."""
        return cls.model_validate(body)

    def reference(self) -> dict[str, str]:
        """An object reference, as Events carry it."""
        namespace = {"namespace": self.metadata.namespace} if self.metadata.namespace else {}
        return {
            "apiVersion": API_VERSION,
            "kind": self.KIND,
            **namespace,
            "name": self.metadata.name,
            "uid": self.metadata.uid,
        }
