"""Configuration: what loads, what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from fireact.config import Config, differing_keys, digest, load
from fireact.errors import ConfigError


class Square(Config):
    kind: Literal["square"] = "square"
    side: float = Field(1.0, gt=0)


class Circle(Config):
    kind: Literal["circle"] = "circle"
    radius: float


class Drawing(Config):
    title: str
    shape: Annotated[Square | Circle, Field(discriminator="kind")] = Square()
    marks: tuple[Square, ...] = ()
    colour: str = "red"

    @field_validator("colour")
    @classmethod
    def _is_known(cls, colour: str) -> str:
        if colour not in ("red", "blue"):
            raise ValueError(f"unknown colour {colour!r}; known: blue, red")
        return colour


def write(folder: Path, text: str) -> Path:
    path = folder / "drawing.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), Drawing, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder), "...")


def test_a_file_overrides_defaults_and_the_command_line_overrides_the_file(tmp_path):
    path = write(tmp_path, "title: t\nshape: {kind: circle, radius: 2}\nmarks: [{side: 3}, {side: 4}]\n")
    drawing = load(path, Drawing, ["shape.radius=1e-3", "marks.1.side=5", "colour=blue"])
    assert drawing.shape == Circle(radius=0.001)
    assert drawing.marks == (Square(side=3), Square(side=5))
    assert drawing.colour == "blue"


def test_an_override_reaches_a_section_that_the_file_leaves_out(tmp_path):
    assert load(write(tmp_path, "title: t\nshape:\n"), Drawing, ["shape.kind=square"]).shape == Square()


def test_a_value_may_be_any_yaml(tmp_path):
    assert load(write(tmp_path, "title: t"), Drawing, ["marks=[{side: 2}]"]).marks == (Square(side=2),)


def test_a_config_is_frozen():
    with pytest.raises(ValidationError):
        Square().side = 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: t\ncolor: red", ".../drawing.yaml: unknown key 'color'; known here: colour, marks, shape, title"),
        (
            "title: t\nshape: {kind: circle, radios: 1}",
            ".../drawing.yaml: unknown key 'shape.radios'; known here: kind, radius",
        ),
        (
            "title: t\nmarks: [{side: 1}, {size: 1}]",
            ".../drawing.yaml: unknown key 'marks.1.size'; known here: kind, side",
        ),
        ("title: t\nshape: {kind: oval}", ".../drawing.yaml: shape.kind: unknown kind 'oval'; known: square, circle"),
        ("title: t\nshape: {radius: 1}", ".../drawing.yaml: the key 'shape.kind' is missing"),
        ("title: t\nshape: {kind: circle}", ".../drawing.yaml: the key 'shape.radius' is missing"),
        ("colour: red", ".../drawing.yaml: the key 'title' is missing"),
        ("title: t\ncolour: pink", ".../drawing.yaml: colour: unknown colour 'pink'; known: blue, red"),
        (
            "title: t\nshape: {kind: square, side: 0}",
            ".../drawing.yaml: shape.side: input should be greater than 0, got 0",
        ),
        ("", ".../drawing.yaml: expected keys and values, got nothing"),
        ("- 1", ".../drawing.yaml: expected keys and values, got a list"),
        ("title: t\n1: b", ".../drawing.yaml: expected text for a key, got 1; put it in quotes"),
        ("title: t\non: b", ".../drawing.yaml: expected text for a key, got True; put it in quotes"),
        ("title: 2001-13-01", ".../drawing.yaml: a value cannot be read (month must be in 1..12); put it in quotes"),
        ("title: t\nmarks: [{side: on}]", ".../drawing.yaml: marks.0.side: expected a number, got true or false"),
        (
            "title: t\nmarks: [{side: .inf}]",
            ".../drawing.yaml: marks.0.side: input should be a finite number, got inf",
        ),
        (
            'title: "\\ud800"',
            ".../drawing.yaml: the text '\\ud800' holds a character that no file can hold; drop it",
        ),
        (f"title: {'[' * 5000}", ".../drawing.yaml: nested too deeply; write it flatter"),
    ],
)
def test_a_refusal_names_file_key_and_what_is_known(tmp_path, text, message):
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("colour", "command line: expected key.sub=value, got 'colour'"),
        ("=red", "command line: expected key.sub=value, got '=red'"),
        ("title.sub=1", "command line: title.sub=1: there is no key 'sub' inside the value 't'"),
        ("title.a.b=1", "command line: title.a.b=1: there is no key 'a' inside the value 't'"),
        ("marks.3.side=1", "command line: marks.3.side=1: '3' is no entry of a list of 1; count from 0"),
        ("marks.x=1", "command line: marks.x=1: 'x' is no entry of a list of 1; count from 0"),
        (
            "marks.0.side=-1",
            "command line, over .../drawing.yaml: marks.0.side: input should be greater than 0, got -1",
        ),
        (
            "color=red",
            "command line, over .../drawing.yaml: unknown key 'color'; known here: colour, marks, shape, title",
        ),
        ("title={", "command line: title: not valid YAML: expected the node content, but found '<stream end>', line 1"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, override, message):
    assert refusal(tmp_path, "title: t\nmarks: [{side: 1}]", override) == message


def test_an_override_changes_one_alias_of_an_anchor_and_not_the_others(tmp_path):
    path = write(tmp_path, "title: t\nshape: &s {kind: square, side: 2}\nmarks: [*s, *s]")
    drawing = load(path, Drawing, ["marks.1.side=5"])
    assert (drawing.shape, drawing.marks) == (Square(side=2), (Square(side=2), Square(side=5)))


def test_a_mapping_is_merged_into_another(tmp_path):
    drawing = load(write(tmp_path, "title: t\nshape: &s {kind: square, side: 2}\nmarks: [{<<: *s, side: 3}]"), Drawing)
    assert drawing.marks == (Square(side=3),)


def test_nested_aliases_that_stand_for_billions_of_values_are_refused(tmp_path):
    lines = [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 1,000,000 values" in refusal(tmp_path, "\n".join(["k0: &a0 [1, 1]", *lines]))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    assert "key 'title' stands twice" in refusal(tmp_path, "title: a\ntitle: b")


def test_broken_yaml_is_refused_with_its_line(tmp_path):
    assert "line 2" in refusal(tmp_path, "title: a\n  b: [")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read \(No such file or directory\)"):
        load(tmp_path / "no.yaml", Drawing)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "drawing.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "drawing.yaml", Drawing)


def test_equal_configs_have_equal_digests():
    assert digest(Square(side=2)) == digest(Square(kind="square", side=2.0))
    assert digest(Square(side=2)) != digest(Square(side=3))


def test_the_keys_that_differ_are_dotted_and_sorted():
    old = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": {}}
    new = {"a": 1, "b": {"c": [1, 3], "d": 4}, "f": []}
    assert differing_keys(old, new) == ("b.c.1", "b.d", "e", "f")
