"""Runs the engines (main.go) on objects, many in one run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.gitops.install import MODULE

Object = Mapping[str, Any]


class EngineError(RuntimeError):
    """An engine failed: a script or an expression is invalid."""


@dataclass(frozen=True)
class Answer:
    """Argo CD's health and message, or the status of Flux or kstatus."""

    status: str
    message: str


@dataclass(frozen=True)
class Question:
    engine: str
    object: Object
    #: additional input of the engine, by its names in main.go
    rules: Mapping[str, str]

    @classmethod
    def argo_cd(cls, script: str, object: Object) -> Question:
        return cls("argo-cd", object, {"script": script})

    @classmethod
    def flux(cls, expressions: Mapping[str, str], object: Object) -> Question:
        return cls("flux", object, {name: expressions.get(name, "") for name in ("current", "inProgress", "failed")})

    @classmethod
    def kstatus(cls, object: Object) -> Question:
        return cls("kstatus", object, {})


def ask(questions: Sequence[Question]) -> list[Answer]:
    """Return the answers in the order of the questions. Raises EngineError if one of them fails."""
    text = json.dumps([{"engine": one.engine, "object": one.object, **one.rules} for one in questions])
    program = MODULE.install() / "gitops"
    done = subprocess.run([str(program)], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise EngineError(done.stderr.strip())
    answers = json.loads(done.stdout)
    for question, answer in zip(questions, answers, strict=True):
        if "error" in answer:
            raise EngineError(f"{question.engine}: {answer['error']}")
    return [Answer(one["status"], one["message"]) for one in answers]
