"""dialects/react_text.py: reading is the inverse of rendering, and no text breaks it."""

import re
import time
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fireact.dialects import Author, Move, open_dialect
from fireact.dialects.react_text import LABEL, parse_transcript
from fireact.errors import FormatError
from fireact.trajectory import Action, Question, Step

DIALECT = open_dialect("react-text")
SECOND_CALL = re.compile(r"\].*\[")
FRAGMENTS = [
    "Thought:",
    "Action:",
    "Observation:",
    "Question:",
    "search",
    "finish",
    "[",
    "]",
    "\n",
    " ",
    "a",
    ", ",
    "é",
]

words = st.text(st.sampled_from("ab é.,:'0[]()\u0085\u2028\t"), max_size=20).map(str.strip)
bodies = st.lists(words, min_size=1, max_size=3).map(lambda lines: "\n".join(lines).strip())
thoughts = bodies.filter(lambda body: not LABEL.search(body) and "Action:" not in body)
arguments = words.filter(lambda argument: not SECOND_CALL.search(argument))
actions = st.builds(Action, tool=st.sampled_from(["search", "finish", "look-up", "a.b"]), argument=arguments)
questions = st.builds(
    Question,
    id=st.just("q"),
    task=st.just("t"),
    text=thoughts.filter(bool),
    choices=st.just(()) | st.tuples(words.filter(bool), words.filter(bool)),
)
steps = st.builds(
    Step, thought=thoughts, action=st.none() | actions, observation=thoughts, reflection=st.just("") | thoughts
)
last_steps = st.builds(Step, thought=thoughts, action=st.none() | actions, reflection=st.just("") | thoughts)
transcripts = st.builds(lambda some, last: (*some, last), st.lists(steps, max_size=4), last_steps)
replies = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


def text(pieces):
    return "".join(piece.text for piece in pieces)


@given(questions, transcripts)
def test_a_rendered_transcript_reads_back_unchanged(question, row):
    assert parse_transcript(text(DIALECT.render(question, row))) == (question.full_text, row)


@given(thoughts, st.none() | actions)
def test_a_rendered_move_reads_back_unchanged(thought, action):
    assume(thought or action)
    pieces = DIALECT.render(Question(id="q", task="t", text="?"), [Step(thought=thought, action=action)])
    assert DIALECT.parse(pieces[-1].text) == Move(thought, action)


@given(questions, transcripts, st.data())
def test_a_prompt_begins_with_every_earlier_prompt(question, row, data):
    some = row[: data.draw(st.integers(0, len(row)))]
    short, long = (DIALECT.render(question, part, reflection="") for part in (some, row))
    assert long[: len(short)] == short


@given(questions, st.lists(steps, max_size=4))
def test_for_canonical_steps_prompt_and_training_example_are_the_same_pieces(question, row):
    assert DIALECT.render(question, row, reflection="") == DIALECT.render(question, row)


@given(questions, transcripts)
def test_the_model_writes_one_piece_in_each_step(question, row):
    pieces = DIALECT.render(question, row)
    assert sum(piece.author is Author.MODEL for piece in pieces) == len(row)


@given(st.text() | replies)
def test_any_reply_is_a_move_or_a_format_error(reply):
    try:
        move = DIALECT.parse(reply)
    except FormatError:
        return
    assert move.thought or move.action


@given(st.text() | replies | replies.map("Question: ".__add__))
def test_any_transcript_is_read_or_a_format_error(transcript):
    with suppress(FormatError):
        parse_transcript(transcript)


@given(thoughts, actions, st.data())
def test_a_reply_that_lost_or_gained_a_piece_is_still_a_move_or_a_format_error(thought, action, data):
    reply = f"Thought: {thought}\nAction: {action.tool}[{action.argument}]"
    start = data.draw(st.integers(0, len(reply)))
    end = data.draw(st.integers(start, len(reply)))
    with suppress(FormatError):
        DIALECT.parse(reply[:start] + data.draw(replies) + reply[end:])


@pytest.mark.parametrize("fragment", [*FRAGMENTS, "Thought: ", "Action: a", "a[", "] and ", "and ", "],a", "\nAction:"])
@pytest.mark.parametrize("head", ["", "Thought: a\nAction: search[", "Action: search[x]", "Thought: Action:"])
def test_a_long_reply_is_read_in_time_that_grows_with_its_length_only(head, fragment):
    reply = head + fragment * 20_000 + "."
    start = time.process_time()
    for read in (DIALECT.parse, parse_transcript):
        with suppress(FormatError):
            read(reply)
    assert time.process_time() - start < 1
