"""models/kv_cache.py: rows grow token by token, and take the place of others without a copy of the rest."""

import pytest

torch = pytest.importorskip("torch")
cache = pytest.importorskip("fireact.models.kv_cache")


def states(*rows):
    """(rows, 1 head, tokens, size 1)"""
    return torch.tensor(rows, dtype=torch.float32)[:, None, :, None]


def layer(*rows):
    made = cache.RoomyLayer()
    made.update(states(*rows), -states(*rows))
    return made


def held(layer):
    """The keys by row; the values are the same below zero."""
    assert torch.equal(layer.keys, -layer.values)
    return layer.keys[:, 0, :, 0].tolist()


def test_a_new_token_stands_behind_what_is_held():
    made = layer([1, 2], [3, 4])
    keys, _ = made.update(states([5], [6]), -states([5], [6]))
    assert keys[:, 0, :, 0].tolist() == held(made) == [[1, 2, 5], [3, 4, 6]]


def test_a_buffer_that_is_full_grows():
    made = layer([0])
    for token in range(1, 3 * cache.ROOM):
        made.update(states([token]), -states([token]))
    assert held(made) == [list(range(3 * cache.ROOM))]


def test_a_row_takes_the_place_of_another_and_ends_where_it_ended():
    made = layer([1, 2, 3], [4, 5, 6])
    made.put(1, (torch.tensor([[[8.0], [9.0]]]), -torch.tensor([[[8.0], [9.0]]])))
    assert held(made) == [[1, 2, 3], [4, 8, 9]]


@pytest.mark.parametrize(
    ("places", "num_rows", "length", "expected"),
    [
        ([1], 1, 2, [[5, 6]]),
        ([1], 2, 3, [[4, 5, 6], [0, 0, 0]]),
        ([0, 1], 2, 4, [[0, 1, 2, 3], [0, 4, 5, 6]]),
    ],
)
def test_chosen_rows_come_first_with_their_last_tokens_and_zeros_for_the_rest(places, num_rows, length, expected):
    made = layer([1, 2, 3], [4, 5, 6])
    made.rearrange(torch.tensor(places), num_rows, length)
    assert held(made) == expected
    made.update(states(*[[7]] * num_rows), -states(*[[7]] * num_rows))
    assert held(made) == [[*row, 7] for row in expected]
