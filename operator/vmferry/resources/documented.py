"""Words of the API that explain themselves: their documentation is generated from here."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType, Self, TypeAlias

#: a reason that another object gave, passed on as it is
PassedOn = NewType("PassedOn", str)
#: what a condition may give as its reason: no bare string
ReasonWord: TypeAlias = StrEnum | PassedOn


class Documented(StrEnum):
    """A word, what it means, and what a person can do about it (empty: nothing)."""

    meaning: str
    remedy: str

    def __new__(cls, value: str, meaning: str, remedy: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.remedy = remedy
        return member


class ConditionReason(StrEnum):
    """A reason of conditions: the types that give it, what it means, and what a person can do about it."""

    conditions: str
    meaning: str
    remedy: str

    def __new__(cls, value: str, conditions: str, meaning: str, remedy: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.conditions = conditions
        member.meaning = meaning
        member.remedy = remedy
        return member
