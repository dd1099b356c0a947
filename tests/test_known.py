"""models/known.py: what has been read is found again by its tokens, and forgotten when there is too much of it."""

import pytest

torch = pytest.importorskip("torch")
known = pytest.importorskip("fireact.models.known")


def pair(num_tokens, value=0.0):
    """Keys and values of one layer: 1 head, so many tokens, size 2; 16 bytes a token."""
    return torch.full((1, num_tokens, 2), value), torch.full((1, num_tokens, 2), -value)


def read(*ids):
    """What is known of a row that shares no prefix."""
    return known.Known(ids, (pair(len(ids)),))


@pytest.mark.parametrize(
    ("rows", "common"),
    [
        ([(1, 2, 3), (1, 2, 4)], (1, 2)),
        ([(1, 2, 3), (1, 2, 3)], (1, 2)),
        ([(1, 2, 3, 4), (1, 2), (1, 2, 3)], (1,)),
        ([(1, 2), (3, 4)], ()),
    ],
)
def test_a_common_prefix_leaves_each_row_a_token_to_read(rows, common):
    assert known.common_prefix(rows) == common


def test_the_next_turn_finds_what_its_prompt_goes_on_from():
    kept = known.Kept(10_000)
    kept.keep((1, 2), read(1, 2, 7, 8))
    found = kept.take((1, 2, 7, 9, 5), starts=(0, 2, 4))
    assert found.ids == (1, 2, 7)
    assert found.layers[0][0].shape == (1, 3, 2)
    assert (len(kept), kept.num_bytes) == (0, 0)


def test_a_prompt_that_no_kept_one_leads_to_finds_nothing():
    kept = known.Kept(10_000)
    kept.keep((1, 2), read(1, 2, 7))
    assert kept.take((1, 3, 7), starts=(0, 2)) is None
    assert kept.take((1, 2, 7), starts=(0, 1)) is None
    assert len(kept) == 1


def test_beyond_its_bytes_the_oldest_is_forgotten():
    kept = known.Kept(6 * 16)
    for first in (1, 2, 3):
        kept.keep((first,), read(first, 0, 0))
    assert kept.num_bytes == 6 * 16
    assert kept.take((1, 5), starts=(1,)) is None
    assert kept.take((3, 5), starts=(1,)) is not None


def test_a_row_alone_has_the_prefix_in_its_own_keys_and_values():
    prefix = known.Prefix((1, 2), (pair(2, 1.0),))
    row = known.Known((1, 2, 3), (pair(1, 5.0),), prefix)
    keys, values = row.alone().layers[0]
    assert keys[0, :, 0].tolist() == [1.0, 1.0, 5.0]
    assert values[0, :, 0].tolist() == [-1.0, -1.0, -5.0]
    assert (row.num_own, row.alone().num_own) == (1, 3)
    assert known.Known((1, 2), prefix=prefix).alone().layers == prefix.layers
