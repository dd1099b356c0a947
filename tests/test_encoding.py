"""encoding/: which tokens of a trajectory are trained, the gate, and the order of batches."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.dialects import Author, Piece, open_dialect
from fireact.dialects.react_text import ReactText
from fireact.dialects.tokens import ids_text, piece_tokens
from fireact.encoding import Encoded, check, encode, grouped_batches
from fireact.errors import DataError
from fireact.trajectory import Action, Question, Step, Trajectory
from pair_tokenizer import END, PairTokenizer

REACT = open_dialect("react-text")
TOKENIZER = PairTokenizer()
SEARCH = Step(
    thought="I need the painter.",
    action=Action(tool="search", argument="ceiling"),
    observation="Painted by Ada.</s>",
    reflection="I have not solved it.",
)
FINISH = Step(thought="It is Ada.", action=Action(tool="finish", argument="Ada"))


def trajectory(*steps: Step) -> Trajectory:
    question = Question(id="q1", task="demo", text="Who painted the ceiling?")
    return Trajectory(
        id="t1", question=question, method="react", dialect="react-text", model="none", steps=steps, end="finished"
    )


def trained_text(encoded: Encoded) -> str:
    return ids_text(encoded.trained_ids, TOKENIZER)


def test_thoughts_actions_and_ends_of_turns_are_trained_and_nothing_else():
    encoded = encode(trajectory(SEARCH, FINISH), REACT, TOKENIZER)
    check(trajectory(SEARCH, FINISH), encoded, REACT, TOKENIZER)
    assert trained_text(encoded) == (
        "Thought: I need the painter.\nAction: search[ceiling]</s>Thought: It is Ada.\nAction: finish[Ada]</s>"
    )
    assert sum(token == END for token in encoded.ids) == 2


def test_a_reply_that_could_not_be_parsed_is_read_and_not_trained():
    bad = Step(reply="la la la", parse_error="no action", observation="Say what to do.")
    encoded = encode(trajectory(bad, FINISH), REACT, TOKENIZER)
    check(trajectory(bad, FINISH), encoded, REACT, TOKENIZER)
    assert trained_text(encoded) == "Thought: It is Ada.\nAction: finish[Ada]</s>"
    assert "la la la</s>" in ids_text(encoded.ids, TOKENIZER)


def test_what_is_trained_is_what_generation_reads_back():
    whole = encode(trajectory(SEARCH, FINISH), REACT, TOKENIZER)
    prompt = REACT.render(trajectory().question, [SEARCH], reflection="")
    read = piece_tokens(prompt, TOKENIZER, end_of_turn=True)
    assert whole.ids[: len(read.ids)] == read.ids


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_any_thoughts_pass_the_gate(thoughts):
    steps = [Step(thought=thought, action=Action(tool="search", argument=thought)) for thought in thoughts]
    check(trajectory(*steps), encode(trajectory(*steps), REACT, TOKENIZER), REACT, TOKENIZER)


class MarksObservations(ReactText):
    """A dialect with a mistake: it says that the model wrote the observations."""

    def render(self, question, steps, *, instruction="", reflection=None):
        pieces = super().render(question, steps, instruction=instruction, reflection=reflection)
        return tuple(
            Piece(piece.text, Author.MODEL if "Observation" in piece.text else piece.author) for piece in pieces
        )


class LowerCase(PairTokenizer):
    """A tokenizer that alters text."""

    def encode(self, text, /, *, add_special_tokens, split_special_tokens):
        return super().encode(text.lower(), add_special_tokens=False, split_special_tokens=True)


def test_the_gate_refuses_a_trained_observation():
    tokens = piece_tokens(MarksObservations().render(trajectory().question, [SEARCH]), TOKENIZER, end_of_turn=True)
    with pytest.raises(DataError, match="'t1': 2 turns would be trained, expected 1"):
        check(trajectory(SEARCH), Encoded(tokens.ids, tokens.is_model), MarksObservations(), TOKENIZER)


def test_the_gate_refuses_a_tokenizer_that_alters_text():
    with pytest.raises(DataError, match=r"'t1': turn 1: the trained tokens say 'thought: it is ada"):
        check(trajectory(FINISH), encode(trajectory(FINISH), REACT, LowerCase()), REACT, LowerCase())


@pytest.mark.parametrize("position", [0, -1])
def test_the_gate_refuses_a_mask_that_is_one_token_off(position):
    encoded = encode(trajectory(SEARCH, FINISH), REACT, TOKENIZER)
    trained = [index for index, is_trained in enumerate(encoded.mask) if is_trained]
    mask = [is_trained and index != trained[position] for index, is_trained in enumerate(encoded.mask)]
    with pytest.raises(DataError, match="'t1'"):
        check(trajectory(SEARCH, FINISH), replace(encoded, mask=tuple(mask)), REACT, TOKENIZER)


def test_a_trajectory_without_a_thought_or_action_is_refused():
    with pytest.raises(DataError, match="no thought or action to train on"):
        check(trajectory(), encode(trajectory(), REACT, TOKENIZER), REACT, TOKENIZER)


lengths = st.lists(st.integers(1, 900), min_size=1, max_size=200)


@given(lengths, st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_each_example_is_in_one_batch_of_an_epoch(sizes, batch_size, by_length, epoch):
    batches = grouped_batches(sizes, batch_size=batch_size, seed=1, epoch=epoch, by_length=by_length)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    assert sum(len(batch) < batch_size for batch in batches) <= 1
    assert max(map(len, batches)) <= batch_size


def test_batches_depend_on_seed_and_epoch_alone():
    first = grouped_batches(range(64), batch_size=4, seed=1, epoch=0)
    assert first == grouped_batches(range(64), batch_size=4, seed=1, epoch=0)
    assert first != grouped_batches(range(64), batch_size=4, seed=1, epoch=1)
    assert first != grouped_batches(range(64), batch_size=4, seed=2, epoch=0)


def test_batches_of_like_lengths_hold_little_padding():
    sizes = [100 + 7 * (index % 90) for index in range(720)]
    assert padding(sizes, by_length=False) > 0.3
    assert padding(sizes, by_length=True) < 0.06


def padding(sizes: list[int], *, by_length: bool) -> float:
    """Padded positions for each real one."""
    batches = grouped_batches(sizes, batch_size=16, seed=0, epoch=0, by_length=by_length)
    return sum(max(sizes[i] for i in batch) * len(batch) for batch in batches) / sum(sizes) - 1
