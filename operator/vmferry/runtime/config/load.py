"""Reads the configuration: YAML and the environment to a `Config`, or a `ConfigError`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vmferry.runtime.config.errors import config_error, invalid, yaml_problem
from vmferry.runtime.config.schema import Config

#: environment variables and the fields that they set
ENVIRONMENT = {
    "VMFERRY_CLOUD": ("cloud", "name"),
    "VMFERRY_CLOUDS_FILE": ("cloud", "cloudsFile"),
    "VMFERRY_KUBECONFIG": ("kubeconfig",),
    "VMFERRY_HEALTH_ADDRESS": ("health", "address"),
    "VMFERRY_HEALTH_PORT": ("health", "port"),
    # a Pod's own namespace, unless told otherwise
    "POD_NAMESPACE": ("namespace",),
    "VMFERRY_NAMESPACE": ("namespace",),
}


#: a ConfigMap holds no more; a device would never end
_LARGEST = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """PyYAML's own, which lets errors of Python pass where a scalar is not what its tag or its look says."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.constructor.ConstructorError(None, None, f"no good {kind}", node.start_mark) from error


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read the file; the environment wins over it. Raises ConfigError."""
    source = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise config_error(source, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise config_error(source, f"cannot be read: {error}") from error
    if len(raw) > _LARGEST:
        raise config_error(source, "is larger than 1 MiB")
    try:
        data = yaml.load(raw.decode("utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        raise config_error(source, f"is not YAML: no UTF-8 at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise config_error(source, f"is not YAML: {yaml_problem(error)}") from error
    except RecursionError as error:
        raise config_error(source, "is nested too deeply") from error
    return parse({} if data is None else data, environment, source)


def parse(data: Any, environment: Mapping[str, str], source: str = "configuration") -> Config:
    """From parsed YAML; raises ConfigError with every wrong field, of very many with the first ones."""
    if not isinstance(data, dict):
        raise config_error(source, "must be a mapping of keys to values")
    for variable, fields in ENVIRONMENT.items():
        if value := environment.get(variable):
            data = _with(data, fields, value)
    try:
        return Config.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        raise invalid(source, error) from error


def _with(data: dict[str, Any], fields: tuple[str, ...], value: str) -> dict[str, Any]:
    first, *rest = fields
    if not rest:
        return {**data, first: value}
    inner = data.get(first)
    return {**data, first: _with(inner if isinstance(inner, dict) else {}, tuple(rest), value)}
