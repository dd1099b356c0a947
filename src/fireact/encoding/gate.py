"""The gate before training: what the trained tokens say must be what the model is to learn, character for character.

The trained tokens are decoded and compared with the thoughts and actions of the record, which are rendered one by one
without question, observation and reflection. A dialect that marks a wrong piece, or a tokenizer that alters text, is
caught here instead of in a worse student.
"""

from __future__ import annotations

from collections.abc import Iterator

from fireact.dialects import Author, Dialect
from fireact.dialects.tokens import Tokenizer, ids_text
from fireact.encoding.encode import Encoded
from fireact.errors import DataError
from fireact.trajectory import Step, Trajectory

SHOWN_CHARACTERS = 60


def check(trajectory: Trajectory, encoded: Encoded, dialect: Dialect, tokenizer: Tokenizer) -> None:
    """Refuse an example whose trained tokens are not exactly the thoughts and actions, each with its end of turn.

    Raises:
        DataError: names the trajectory and the first turn that differs.
    """
    expected = [_written(trajectory, step, dialect) for step in trajectory.steps if not step.parse_error]
    trained = [ids_text(turn, tokenizer) for turn in _turns(encoded.trained_ids, tokenizer.eos_token_id)]
    if not expected:
        raise DataError(f"{_name(trajectory)}: no thought or action to train on; drop it, as 'mix' does")
    for number, (want, got) in enumerate(zip(expected, trained, strict=False), start=1):
        if want != got:
            raise DataError(
                f"{_name(trajectory)}: turn {number}: the trained tokens say {_shown(got)}, expected {_shown(want)}; "
                "the tokenizer or the dialect alters the text: drop the trajectory or use another base"
            )
    if encoded.trained_ids[-1:] != (tokenizer.eos_token_id,):
        raise DataError(f"{_name(trajectory)}: the last trained token does not end a turn; report this as a bug")
    if len(expected) != len(trained):
        raise DataError(
            f"{_name(trajectory)}: {len(trained)} turns would be trained, expected {len(expected)}; "
            "the dialect marks the wrong pieces as the model's"
        )


def _written(trajectory: Trajectory, step: Step, dialect: Dialect) -> str:
    """What the model writes in a step, rendered from its thought and action alone."""
    bare = Step(thought=step.thought, action=step.action)
    pieces = dialect.render(trajectory.question, (bare,))
    return "".join(piece.text for piece in pieces if piece.author is Author.MODEL)


def _turns(ids: tuple[int, ...], end: int | None) -> Iterator[tuple[int, ...]]:
    """Split at end-of-turn tokens; a last turn without one is a turn too."""
    start = 0
    for index, token in enumerate(ids):
        if token == end:
            yield ids[start:index]
            start = index + 1
    if start < len(ids):
        yield ids[start:]


def _name(trajectory: Trajectory) -> str:
    return f"trajectory {trajectory.id!r}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"...{text[-SHOWN_CHARACTERS:]}")
