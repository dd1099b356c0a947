"""Pieces -> token ids: the one way that generation and training share.

Each piece is encoded by itself and the results are joined, never the joined text. A merge can therefore not cross
the border between two authors, and appending pieces never changes the tokens before them: a turn is read again as the
tokens of its text, and what is trained is what an agent reads and writes when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fireact.dialects import Author, Piece
from fireact.errors import ConfigError


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used here; special ids are None where the model has none."""

    @property
    def bos_token_id(self) -> int | None: ...

    @property
    def eos_token_id(self) -> int | None: ...

    def encode(self, text: str, /, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]: ...

    def decode(
        self, ids: Sequence[int], /, *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str: ...


@dataclass(frozen=True)
class Tokens:
    """A rendering as ids."""

    ids: tuple[int, ...]
    """(tokens,)"""
    is_model: tuple[bool, ...]
    """(tokens,) True where the model is the author; its end-of-turn tokens are among them."""
    starts: tuple[int, ...]
    """(pieces,) where each piece begins in `ids`; it ends where the next one begins."""


def piece_tokens(pieces: Sequence[Piece], tokenizer: Tokenizer, *, end_of_turn: bool) -> Tokens:
    """The tokens of a rendering, after the tokenizer's start token where it has one.

    The tokens of the first k pieces are the first tokens of all pieces, for every k.

    Args:
        end_of_turn: put the tokenizer's end token after each piece of the model, written by the model. A tuned
            student ends its turns so; a prompted base does not and is cut at stop strings.

    Raises:
        ConfigError: `end_of_turn` is asked of a tokenizer without an end token.
    """
    eos = tokenizer.eos_token_id
    if end_of_turn and eos is None:
        raise ConfigError("the tokenizer has no end token (eos_token) to end a turn with; give it one and save it")
    ids: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    is_model = [False] * len(ids)
    starts: list[int] = []
    for piece in pieces:
        starts.append(len(ids))
        by_model = piece.author is Author.MODEL
        new = text_ids(piece.text, tokenizer)
        if by_model and end_of_turn and eos is not None:
            new.append(eos)
        ids += new
        is_model += [by_model] * len(new)
    return Tokens(tuple(ids), tuple(is_model), tuple(starts))


def text_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of one text alone. A special token's name in it is read as plain characters: nobody can inject one."""
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)) if text else []


def ids_text(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The text of ids, character for character; special tokens show by their names."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
