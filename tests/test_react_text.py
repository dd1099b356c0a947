"""dialects/react_text.py: what a reply means, and how steps stand before a model."""

import pytest

from fireact.dialects import Author, Move, open_dialect
from fireact.dialects.react_text import parse_action, parse_transcript
from fireact.errors import ConfigError, FormatError
from fireact.trajectory import Action, Question, Step

DIALECT = open_dialect("react-text")
QUESTION = Question(id="q", task="t", text="Who wrote Emma?")


def search(argument):
    return Action(tool="search", argument=argument)


def finish(argument):
    return Action(tool="finish", argument=argument)


def text(*steps, question=QUESTION, **options):
    return "".join(piece.text for piece in DIALECT.render(question, steps, **options))


@pytest.mark.parametrize(
    ("line", "argument"),
    [
        ("search[f(x) [citation]]", "f(x) [citation]"),
        ("search[list[0], dict[1]]", "list[0], dict[1]"),
        ("search[a] b]", "a] b"),
        ("search[a [b]", "a [b"),
        ("search[no last bracket", "no last bracket"),
        ("search[]", ""),
        ("  search [ padded ] ", "padded"),
        ("search[x] and some words", "x"),
        ("search[x]\nwords below [1]", "x"),
        ("search[two\nlines]", "two\nlines"),
        ("search[open\nwords below", "open"),
        ("search[first], search[second]", "first"),
        ("search[first] and then finish[second]", "first"),
        ("search[first] Action: finish[second]", "first"),
    ],
)
def test_an_argument_ends_where_its_brackets_say(line, argument):
    assert parse_action(line) == search(argument)


@pytest.mark.parametrize("line", ["", "search", "search for it", "[x]", "two words[x]", "search(x)"])
def test_what_is_not_a_tool_with_an_argument_is_no_action(line):
    assert parse_action(line) is None


def test_finish_is_known_in_any_case_and_other_tools_keep_theirs():
    assert parse_action("Finish[Paris]") == finish("Paris")
    assert parse_action("Wiki.search-2[x]") == Action(tool="Wiki.search-2", argument="x")


@pytest.mark.parametrize(
    ("reply", "move"),
    [
        ("Thought: a\nAction: search[b]", Move("a", search("b"))),
        ("Thought: a\nAction:  finish[b]", Move("a", finish("b"))),
        ("Action: search[b]", Move("", search("b"))),
        ("Thought:\nAction: search[b]", Move("", search("b"))),
        ("a\nAction: search[b]", Move("a", search("b"))),
        ("  Thought: a\nAction: search[b]\n", Move("a", search("b"))),
        ("Thought: a", Move("a", None)),
        ("Thought: a\nAction: something else", Move("a", None)),
        ("Thought: Thought: a\nAction: search[b]", Move("a", search("b"))),
        ("Thought: a\nThought: b\nAction: search[c]", Move("a\nb", search("c"))),
        ("Thought: one\n\ntwo\nAction: search[b]", Move("one\n\ntwo", search("b"))),
        ("Thought: a. Action: search[b]", Move("a.", search("b"))),
        ("Thought: a\nAction: search[b]\nThought: c\nAction: finish[d]", Move("a", search("b"))),
        ("Thought: a\nAction: search[b]\nObservation: made up\nAction: finish[d]", Move("a", search("b"))),
        ("Thought: a\nObservation: made up\nThought: b\nAction: finish[c]", Move("a", None)),
        ("Thought: a\nAction: search[b]\nThat should help.", Move("a", search("b"))),
        ("Thought: failed\nAction: finish[]", Move("failed", finish(""))),
        ("Action: finish[Thought: it is so. Answer: no.]", Move("", finish("Thought: it is so. Answer: no."))),
    ],
)
def test_a_reply_is_read_however_loosely_it_is_written(reply, move):
    assert DIALECT.parse(reply) == move


@pytest.mark.parametrize("reply", ["", "  \n", "Thought:", "Action: nothing", "Observation: made up\nThought: a"])
def test_a_reply_without_thought_and_action_says_what_was_expected(reply):
    with pytest.raises(FormatError, match=r"expected a line 'Thought: \.\.\.' and a line 'Action: tool\[argument\]'"):
        DIALECT.parse(reply)


def test_a_training_example_ends_with_the_last_step():
    first = Step(thought="I look.", action=search("Emma"), observation="By Jane Austen.")
    assert text(first, Step(thought="Found.", action=finish("Jane Austen"))) == (
        "Question: Who wrote Emma?\n"
        "Thought: I look.\nAction: search[Emma]\nObservation: By Jane Austen.\n"
        "Thought: Found.\nAction: finish[Jane Austen]"
    )


def test_a_prompt_ends_where_the_model_writes_next():
    step = Step(thought="I look.", action=search("Emma"), observation="None")
    assert text(step, instruction="Solve it.", reflection="") == (
        "Solve it.\n\nQuestion: Who wrote Emma?\nThought: I look.\nAction: search[Emma]\nObservation: None\n"
    )
    assert text(step, reflection="Think again.").endswith("Observation: None\nThought: Think again.\n")


def test_choices_stand_below_the_question():
    question = Question(id="q", task="t", text="Which?", choices=("red", "blue"))
    assert text(question=question, reflection="") == "Question: Which?\nA. red\nB. blue\n"


def test_only_thoughts_and_actions_are_pieces_of_the_model():
    step = Step(reflection="Think again.", thought="I look.", action=search("Emma"), observation="None")
    pieces = DIALECT.render(QUESTION, [step], reflection="")
    assert [piece.text for piece in pieces if piece.author is Author.MODEL] == [
        "Thought: I look.\nAction: search[Emma]"
    ]


def test_a_prompt_repeats_a_raw_reply_and_a_training_example_has_its_plain_form():
    step = Step(reply="Action:  search[Emma] please", action=search("Emma"), observation="None")
    assert "\nAction:  search[Emma] please\nObservation: None\n" in text(step, reflection="")
    assert "\nThought:\nAction: search[Emma]\nObservation: None\n" in text(step)


def test_a_reply_that_could_not_be_parsed_stands_raw_everywhere():
    step = Step(reply="???", observation="No action was read.", parse_error="expected ...")
    assert (
        text(step) == text(step, reflection="") == "Question: Who wrote Emma?\n???\nObservation: No action was read.\n"
    )


def test_a_transcript_reads_back_with_reflection_and_turns_without_action():
    steps = (
        Step(thought="I look.", observation="Name an action."),
        Step(reflection="Think again.", thought="I look\nagain.", action=search("Emma"), observation="one\ntwo"),
        Step(action=finish("Jane Austen")),
    )
    assert parse_transcript(text(*steps)) == ("Who wrote Emma?", steps)


def test_a_transcript_must_begin_with_its_question_and_hold_actions():
    with pytest.raises(FormatError, match="begins with 'Question:'"):
        parse_transcript("Thought: a")
    with pytest.raises(FormatError, match=r"expected 'Action: tool\[argument\]', got 'dance'"):
        parse_transcript("Question: q\nThought: a\nAction: dance")


def test_an_unknown_dialect_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="unknown dialect 'react'; known: react-text"):
        open_dialect("react")
