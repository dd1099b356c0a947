"""dialects/tokens.py: one way from pieces to ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.dialects import Author, Piece
from fireact.dialects.tokens import ids_text, piece_tokens
from fireact.errors import ConfigError
from pair_tokenizer import END, PAIR, SINGLE, START, PairTokenizer

pieces = st.lists(st.builds(Piece, st.text(max_size=9), st.sampled_from(Author)), max_size=8)


@given(pieces, st.booleans(), st.data())
def test_the_tokens_of_some_pieces_are_the_first_tokens_of_more_pieces(rows, end_of_turn, data):
    some = rows[: data.draw(st.integers(0, len(rows)))]
    short = piece_tokens(some, PairTokenizer(), end_of_turn=end_of_turn)
    long = piece_tokens(rows, PairTokenizer(), end_of_turn=end_of_turn)
    assert long.ids[: len(short.ids)] == short.ids
    assert long.is_model[: len(short.ids)] == short.is_model


@given(pieces)
def test_the_tokens_of_the_model_decode_to_what_the_model_wrote(rows):
    tokens = piece_tokens(rows, PairTokenizer(), end_of_turn=True)
    written = [i for i, by_model in zip(tokens.ids, tokens.is_model, strict=True) if by_model]
    expected = "".join(piece.text + "</s>" for piece in rows if piece.author is Author.MODEL)
    assert ids_text(written, PairTokenizer()) == expected


def test_a_start_token_stands_before_all_and_an_end_token_after_each_turn_of_the_model():
    rows = [Piece("ab"), Piece("c", Author.MODEL), Piece("d"), Piece("", Author.MODEL)]
    tokens = piece_tokens(rows, PairTokenizer(), end_of_turn=True)
    assert tokens.ids == (START, PAIR + 256 * ord("a") + ord("b"), SINGLE + ord("c"), END, SINGLE + ord("d"), END)
    assert tokens.is_model == (False, False, True, True, False, True)
    assert tokens.starts == (1, 2, 4, 5)


def test_a_prompted_base_has_no_end_of_turn_and_a_tokenizer_may_have_no_start():
    rows = [Piece("a"), Piece("b", Author.MODEL)]
    tokens = piece_tokens(rows, PairTokenizer(bos=None, eos=None), end_of_turn=False)
    assert tokens.ids == (SINGLE + ord("a"), SINGLE + ord("b"))
    assert tokens.is_model == (False, True)


def test_an_end_of_turn_needs_an_end_token():
    with pytest.raises(ConfigError, match="no end token"):
        piece_tokens([], PairTokenizer(eos=None), end_of_turn=True)
