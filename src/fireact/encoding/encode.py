"""A trajectory as token ids, and which of them are trained: thoughts, actions and ends of turns, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireact.dialects import Author, Dialect, Piece
from fireact.dialects.tokens import Tokenizer, piece_tokens
from fireact.trajectory import Step, Trajectory


@dataclass(frozen=True)
class Encoded:
    """One training example."""

    ids: tuple[int, ...]
    """(tokens,) the ids that the agent reads and writes when it runs."""
    mask: tuple[bool, ...]
    """(tokens,) True where the token is trained; the question, observations and reflections are only read."""

    @property
    def trained_ids(self) -> tuple[int, ...]:
        return tuple(i for i, is_trained in zip(self.ids, self.mask, strict=True) if is_trained)


def encode(trajectory: Trajectory, dialect: Dialect, tokenizer: Tokenizer) -> Encoded:
    """The training example that a trajectory makes, for a student that ends its turns and reads no instruction.

    A step whose reply could not be parsed is read and not trained: it is no thought and no action.

    Raises:
        ConfigError: the tokenizer has no end token.
    """
    pieces = dialect.render(trajectory.question, trajectory.steps)
    tokens = piece_tokens(pieces, tokenizer, end_of_turn=True)
    mask = list(tokens.is_model)
    ends = (*tokens.starts[1:], len(tokens.ids))
    for index in _unparsed(pieces, trajectory.steps):
        mask[tokens.starts[index] : ends[index]] = [False] * (ends[index] - tokens.starts[index])
    return Encoded(tokens.ids, tuple(mask))


def _unparsed(pieces: Sequence[Piece], steps: Sequence[Step]) -> list[int]:
    """The indices of the model's pieces that could not be parsed; a dialect writes one piece for each step."""
    written = [index for index, piece in enumerate(pieces) if piece.author is Author.MODEL]
    return [index for index, step in zip(written, steps, strict=True) if step.parse_error]
