"""Configuration: the frozen base class, loading a YAML file, and `key.sub=value` overrides.

Order of authority: defaults < file < command line. A wrong key or value ends in one line that names the file, the
dotted key and, where a name was not known, the known ones.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from fireact.errors import ConfigError

C = TypeVar("C", bound="Config")
MERGE = "tag:yaml.org,2002:merge"
MOST_VALUES = 1_000_000
"""In one recipe; a few nested aliases can stand for billions."""
MOST_SHOWN = 60
"""Characters of a value in a message."""


class Freely:
    """Marks a key that has no say in what is made: it may be another one when a stage goes on."""


T = TypeVar("T")
Free = Annotated[T, Freely()]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What every generator of random numbers takes, numpy's among them."""


class Config(BaseModel):
    """Base of all configuration: immutable, and an unknown key is an error that lists the known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_would_pass(cls, values: Any) -> Any:
        """A key that is not known, and `yes` or `on` for a number: YAML reads them as true, which counts as 1."""
        for key, value in values.items() if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                context = {"key": key, "known": ", ".join(sorted(cls.model_fields))}
                raise PydanticCustomError("unknown_key", "unknown key '{key}'; known here: {known}", context)
            if isinstance(value, bool) and _is_number(cls.model_fields[key].annotation):
                raise PydanticCustomError("not_a_number", "expected a number", {"key": key})
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
    return validate(values, cls, where=str(path), overridden=[text.partition("=")[0] for text in overrides])


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: there is no such file, it is not YAML, a key stands twice, or it is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({_reason(error)}); give the path of a recipe") from error
    values = _parse(text, str(path))
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path}: expected keys and values, got {found}")
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `key.sub=value` in `values`, in place.

    Raises:
        ConfigError: the override has no `=`, no key, or leads through something that is no mapping or list.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"command line: expected key.sub=value, got {override!r}")
    value = _parse(text, f"command line: {key}")
    *parents, last = key.split(".")
    place: Any = values
    for name in parents:
        place = _enter(place, name, override)
    _assign(place, last, value, override)


def validate(values: Any, cls: type[C], *, where: str, overridden: Sequence[str] = ()) -> C:
    """`values` as a `cls`; `where` is the file that errors name, but for keys that the command line has given.

    Raises:
        ConfigError: the first key or value that is wrong.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = _first(error)
        key = ".".join(filter(None, (*_keys(first, values), first.get("ctx", {}).get("key"))))
        by_command = any(_is_within(key, given) or _is_within(given, key) for given in overridden)
        place = f"command line, over {where}" if by_command else where
        raise ConfigError(f"{place}: {_sentence(first, values)}") from error


def _is_within(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.")


def to_values(config: Config) -> dict[str, Any]:
    """All values, defaults included, as plain JSON types."""
    return config.model_dump(mode="json")


def free_keys(config: Config, prefix: str = "") -> frozenset[str]:
    """The dotted keys of all values that are marked as `Free`."""
    found: set[str] = set()
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        key = f"{prefix}{name}"
        if any(isinstance(mark, Freely) for mark in field.metadata):
            found.add(key)
        members = enumerate(value) if isinstance(value, tuple) else ()
        for place, one in (("", value), *((f"{index}.", one) for index, one in members)):
            if isinstance(one, Config):
                found |= free_keys(one, f"{key}.{place}")
    return frozenset(found)


def digest(config: Config) -> str:
    """SHA-256 of all values that are not free, in hexadecimal; equal configs have equal digests."""
    free = free_keys(config)
    lasting = sorted((key, value) for key, value in _flatten(to_values(config)) if not _is_in(key, free))
    return hashlib.sha256(json.dumps(lasting).encode()).hexdigest()


def differing_keys(old: dict[str, Any], new: dict[str, Any], *, free: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The dotted keys whose values differ between two mappings of plain JSON types, sorted; `free` ones may differ."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    missing = object()
    keys = (key for key in before.keys() | after.keys() if not _is_in(key, free))
    return tuple(sorted(key for key in keys if before.get(key, missing) != after.get(key, missing)))


def _is_in(key: str, keys: frozenset[str]) -> bool:
    """Whether a dotted key, or one above it, is among `keys`."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in keys for length in range(1, len(parts) + 1))


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without silent loss: of two equal keys, plain YAML would keep only the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != MERGE]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _parse(text: str, place: str) -> Any:
    """The value of a YAML text, as mappings with text for keys, lists, and values of their own.

    Raises:
        ConfigError: it is not YAML, or holds what a recipe cannot.
    """
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)
        return _plain(value, place, itertools.count())
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: not valid YAML: {_yaml_flaw(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{place}: nested too deeply; write it flatter") from error
    except (ValueError, OverflowError, KeyError) as error:
        raise ConfigError(f"{place}: a value cannot be read ({error}); put it in quotes") from error


def _yaml_flaw(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return " ".join(str(error).split())


def _plain(value: Any, place: str, seen: Iterator[int]) -> Any:
    """The same without sharing: of an anchor, YAML makes one object, and an override would change all its aliases."""
    if next(seen) >= MOST_VALUES:
        raise ConfigError(f"{place}: more than {MOST_VALUES:,} values; keep data in files of their own")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{place}: expected text for a key, got {key!r}; put it in quotes")
        return {_plain(key, place, seen): _plain(one, place, seen) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, place, seen) for one in value]
    if isinstance(value, str) and not _is_writable(value):
        raise ConfigError(f"{place}: the text {value[:MOST_SHOWN]!a} holds a character that no file can hold; drop it")
    return value


def _is_writable(text: str) -> bool:
    """Whether the text has neither halves of surrogate pairs, which UTF-8 has not, nor NUL, which no path has."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _is_number(annotation: Any) -> bool:
    """Whether a field takes a number, and nothing else but None."""
    members = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return set(members) <= {int, float, NoneType}


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


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
        case "not_a_number":
            return f"{'.'.join((*keys, context['key']))}: expected a number, got true or false"
        case "missing":
            return f"the key '{key}' is missing"
        case "union_tag_invalid":
            known = context["expected_tags"].replace("'", "")
            return f"{key}.kind: unknown kind {context['tag']!r}; known: {known}"
        case "union_tag_not_found":
            return f"the key '{key}.kind' is missing"
        case "tuple_type":
            message = f"expected a list, got {error['input']!r}; on a command line, write it whole: {key}='[...]'"
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
