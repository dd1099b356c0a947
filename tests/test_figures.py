"""figures: well-formed SVG whose marks stand where the numbers say, and whose text is escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.stages import figures
from fireact.stages.results import Difference, Drop, Group, Row, Teaching

PLACE = {"task": "world/hop", "split": "test"}


def a_row(agent: str = "tuned", noise: str = "normal", em: float = 50.0) -> Row:
    costs = {"f1": em, "turns": 3.0, "tokens_in": 1.0, "tokens_out": 1.0, "seconds": 1.0}
    return Row(agent=agent, noise=noise, **PLACE, n=10, failed=0, em=em, em_low=em - 5, em_high=em + 5, **costs)


def a_difference(low: float, high: float) -> Difference:
    middle = (low + high) / 2
    return Difference(
        a="x", b="y", noise="normal", **PLACE, n=9, difference=middle, low=low, high=high, relative_gain=None
    )


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


def shapes(svg: str, tag: str, kind: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(svg).iter(tag) if kind in element.get("class", "").split()]


def test_bars_are_as_high_as_their_scores():
    svg = figures.noise_bars([a_row(em=40), a_row(noise="none", em=20)], [], {"tuned": 0})
    heights = [float(bar.get("height", 0)) for bar in shapes(svg, "rect", "bar")]
    assert heights == [88.0, 44.0]
    assert {"40.0", "20.0", "tuned", "EM, % of questions"} <= set(texts(svg))


def test_a_drop_stands_under_its_bar():
    drop = Drop(agent="tuned", noise="none", **PLACE, n=10, em_normal=40, em=30, drop=25)
    svg = figures.noise_bars([a_row(em=40), a_row(noise="none", em=30)], [drop], {"tuned": 0})
    assert "−25.0%" in texts(svg)


@pytest.mark.parametrize(("low", "high", "kind"), [(1, 5, "better"), (-5, -1, "worse"), (-1, 5, "level")])
def test_a_difference_is_coloured_by_what_its_interval_says(low, high, kind):
    assert len(shapes(figures.difference_plot([a_difference(low, high)]), "circle", kind)) == 1


def test_right_answers_are_solid_and_wrong_ones_pale():
    svg = figures.turn_bars({2: (30, 10)}, label="t", colour=1, most_turns=4, most_questions=40)
    solid, pale = shapes(svg, "rect", "bar")
    assert (float(solid.get("height", 0)), float(pale.get("height", 0))) == (97.5, 32.5)
    assert "pale" in pale.get("class", "")


def test_many_turns_are_numbered_now_and_then():
    svg = figures.turn_bars({}, label="t", colour=0, most_turns=30, most_questions=1)
    assert [text for text in texts(svg) if text.isdecimal() and int(text) > 1][:3] == ["4", "7", "10"]


def test_the_teacher_is_shown_by_method():
    one = Teaching(task="world/hop", method="cot", n=1200, right=600, share=50.0, low=47.0, high=53.0)
    assert {"world/hop · cot", "50.0%  (600 of 1,200)"} <= set(texts(figures.teacher_bars([one])))


def test_only_the_most_frequent_kinds_are_shown():
    many = [
        Group(agent="x", noise="normal", **PLACE, group=f"k{number}", n=5, em=50, em_low=20, em_high=80)
        for number in range(20)
    ]
    svg = figures.group_dots(many, {"x": 0})
    assert [text for text in texts(svg) if text.startswith("k")] == [f"k{number}" for number in range(12)]


@given(st.text(max_size=30))
def test_any_text_is_escaped_and_shown(words):
    drawing = figures.Drawing(100, 20, words)
    drawing.text(0, 10, words)
    (text,) = ET.fromstring(drawing.svg()).iter("text")
    # XML itself reads other white space as a space or a line break.
    assert (text.text or "").split() == figures.visible(words).split()


@pytest.mark.parametrize("code", [0x0, 0x1B, 0x9B, 0x200B, 0x202E, 0x2066, 0xFEFF, 0xE0041, 0xD800])
def test_what_hides_or_reorders_text_is_shown_as_its_code(code):
    assert figures.visible(f"a{chr(code)}b") == f"a⟨U+{code:04X}⟩b"


@pytest.mark.parametrize("text", ["é 日本 שלום", "one\ntwo\tthree", "👩\u200d🚀", "می\u200cخواهم"])
def test_letters_of_all_scripts_stay(text):
    assert figures.visible(text) == text


@pytest.mark.parametrize(("value", "text"), [(3.14, "+3.1"), (-2.0, "−2.0"), (0.04, "0.0"), (-0.04, "0.0")])
def test_signs_are_written_out_but_for_zero(value, text):
    assert figures.signed(value) == text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (-13, 42, [-20, 0, 20, 40, 60]), (0, 3, [0, 1, 2, 3]), (0, 0, [0, 1])],
)
def test_ticks_are_round_numbers_around_the_values(low, high, ticks):
    assert figures.nice_ticks(low, high) == pytest.approx(ticks)
