"""Configuration: the frozen base class, loading a YAML file, and `key.sub=value` overrides.

Order of authority: defaults < file < command line. A wrong key or value ends in one line that names the file, the
dotted key and, where a name was not known, the known ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from fireact.errors import ConfigError

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Base of all configuration: immutable, and an unknown key is an error that lists the known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                context = {"key": key, "known": ", ".join(sorted(cls.model_fields))}
                raise PydanticCustomError("unknown_key", "unknown key '{key}'; known here: {known}", context)
        return values


def load(path: Path, cls: type[C], overrides: Sequence[str] = ()) -> C:
    """Read a YAML file as a `cls`.

    Args:
        overrides: `key.sub=value` each; the value is read as YAML, a number in the key counts entries of a list
            from 0.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong.
    """
    values = read_yaml(path)
    for override in overrides:
        apply_override(values, override)
    return validate(values, cls, where=str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: there is no such file, it is not YAML, a key stands twice, or it is not a mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({_reason(error)}); give the path of a recipe") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got {'nothing' if values is None else repr(values)}")
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `key.sub=value` in `values`, in place.

    Raises:
        ConfigError: the override has no `=`, no key, or leads through something that is no mapping or list.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"command line: expected key.sub=value, got {override!r}")
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"command line: {key}: not valid YAML: {text!r}") from error
    *parents, last = key.split(".")
    place: Any = values
    for name in parents:
        place = _enter(place, name, override)
    _assign(place, last, value, override)


def validate(values: Any, cls: type[C], *, where: str) -> C:
    """`values` as a `cls`; `where` is the file that errors name.

    Raises:
        ConfigError: the first key or value that is wrong.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_sentence(_first(error), values)}") from error


def to_values(config: Config) -> dict[str, Any]:
    """All values, defaults included, as plain JSON types."""
    return config.model_dump(mode="json")


def digest(config: Config) -> str:
    """SHA-256 of all values in hexadecimal; equal configs have equal digests."""
    return hashlib.sha256(json.dumps(to_values(config), sort_keys=True).encode()).hexdigest()


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, ...]:
    """The dotted keys whose values differ between two mappings of plain JSON types, sorted."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    missing = object()
    keys = before.keys() | after.keys()
    return tuple(sorted(key for key in keys if before.get(key, missing) != after.get(key, missing)))


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without silent loss: of two equal keys, plain YAML would keep only the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not UTF-8"


def _enter(place: Any, name: str, override: str) -> Any:
    if isinstance(place, dict):
        if place.get(name) is None:
            place[name] = {}
        return place[name]
    if isinstance(place, list):
        return place[_index(place, name, override)]
    raise ConfigError(f"command line: {override}: there is no key {name!r} inside the value {place!r}")


def _assign(place: Any, name: str, value: Any, override: str) -> None:
    if isinstance(place, dict):
        place[name] = value
    elif isinstance(place, list):
        place[_index(place, name, override)] = value
    else:
        raise ConfigError(f"command line: {override}: there is no key {name!r} inside the value {place!r}")


def _index(place: list[Any], name: str, override: str) -> int:
    if not name.isdecimal() or int(name) >= len(place):
        raise ConfigError(f"command line: {override}: {name!r} is no entry of a list of {len(place)}; count from 0")
    return int(name)


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    children: Iterator[tuple[Any, Any]]
    if isinstance(value, dict) and value:
        children = iter(value.items())
    elif isinstance(value, list) and value:
        children = iter(enumerate(value))
    else:
        yield prefix, value
        return
    for name, child in children:
        yield from _flatten(child, f"{prefix}.{name}" if prefix else str(name))


def _first(error: ValidationError) -> ErrorDetails:
    """The error to show: an unknown key first, since a misspelt key also makes its right form a missing one."""
    errors = error.errors(include_url=False)
    return next((found for found in errors if found["type"] == "unknown_key"), errors[0])


def _sentence(error: ErrorDetails, values: Any) -> str:
    keys, context = _keys(error, values), error.get("ctx", {})
    key = ".".join(keys)
    match error["type"]:
        case "unknown_key":
            return f"unknown key '{'.'.join((*keys, context['key']))}'; known here: {context['known']}"
        case "missing":
            return f"the key '{key}' is missing"
        case "union_tag_invalid":
            known = context["expected_tags"].replace("'", "")
            return f"{key}.kind: unknown kind {context['tag']!r}; known: {known}"
        case "union_tag_not_found":
            return f"the key '{key}.kind' is missing"
        case "value_error":
            message = str(context["error"])
        case _:
            message = f"{error['msg'][:1].lower()}{error['msg'][1:]}, got {error['input']!r}"
    return f"{key}: {message}" if key else message


def _keys(error: ErrorDetails, values: Any) -> tuple[str, ...]:
    """The keys from the top to the error, without the names that pydantic adds for the members of unions."""
    keys: list[str] = []
    location = error["loc"]
    for position, name in enumerate(location):
        is_missing = error["type"] == "missing" and position == len(location) - 1
        is_entry = isinstance(name, int) and isinstance(values, list | tuple) and name < len(values)
        if is_entry or (isinstance(values, dict) and name in values):
            values = values[name]
        elif not is_missing:
            continue
        keys.append(str(name))
    return tuple(keys)
