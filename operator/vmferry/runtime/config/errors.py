"""What is wrong with a configuration, in clean lines: bounded, each with its field, none with a secret."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import ValidationError

from vmferry.resources.base import clip, shown

#: problems that are reported; whoever has more has written something else than a configuration
_REPORTED = 20
#: what stands behind these in PyYAML's words may be a password that begins with * or !
_WORD = re.compile(r"\b(alias|tag|handle|anchor) ['\"].*", re.DOTALL)
#: pydantic's words for Python's types, in those of YAML
_WANTED = {
    "model_type": "Input should be a valid dictionary",
    "dataclass_type": "Input should be a valid dictionary",
    "tuple_type": "Input should be a valid list",
    "frozen_set_type": "Input should be a valid list",
}


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and every wrong field."""


def config_error(source: str, *sentences: str) -> ConfigError:
    """One clean line each, bounded, whoever wrote the file and its name."""
    name = source if source.isprintable() and source.strip() else repr(source)
    return ConfigError("\n".join(f"{clip(name, 512)}: {clip(text, 512)}" for text in sentences if text))


def invalid(source: str, error: ValidationError) -> ConfigError:
    """Every wrong field; of very many the first ones."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    more = len(problems) - _REPORTED
    return config_error(source, *map(_sentence, problems[:_REPORTED]), f"and {more} more" if more > 0 else "")


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong at which line, without the line itself: a password may stand in it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    words, mark = _WORD.sub(r"\1", error.problem or "unreadable"), error.problem_mark
    return f"{words}, line {mark.line + 1}, column {mark.column + 1}" if mark else words


def _sentence(problem: Any) -> str:
    field = clip("".join(map(_step, problem["loc"])).lstrip("."), 256)
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{field}: no such key"
    words = _WANTED.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    return f"{field}: {words}" if problem["loc"] else words


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{clip(part, 64)}" if part.isprintable() and part.strip() else f".{shown(part)}"
