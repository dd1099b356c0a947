"""models/decoder.py: rows that come and go write what each would write alone."""

import random
import time

import pytest

from fireact.dialects.tokens import text_ids
from tiny import save_tiny_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
decoder = pytest.importorskip("fireact.models.decoder")

EXAMPLES = "An example of a question and its answer, long enough to be read once for all rows.\n\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_base(tmp_path_factory.mktemp("base"))


def open_decoder(base, **settings):
    model = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
    return decoder.Decoder(model, transformers.AutoTokenizer.from_pretrained(base), **settings)


def row(text, base, *, max_tokens):
    ids = (0, *text_ids(text, transformers.AutoTokenizer.from_pretrained(base)))
    return decoder.Row(ids, starts=(1,), stop=(), max_tokens=max_tokens, temperature=0.0, seed=0)


def some_rows(base, num_rows, openings):
    """Prompts of 1 to 40 characters after one of the openings, and replies of 1 to 30 tokens."""
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcde ", k=rng.randint(1, 40))) for _ in range(num_rows)]
    return [row(rng.choice(openings) + text, base, max_tokens=rng.randint(1, 30)) for text in texts]


def written(made, rows):
    """The replies to all rows, in their order."""
    made.add(rows)
    replies = {}
    while not made.is_idle:
        replies |= dict(made.advance())
    return [replies[one].text for one in rows]


@pytest.mark.parametrize("kept_bytes", [0, 2**30])
@pytest.mark.parametrize("openings", [("",), (EXAMPLES,), ("", EXAMPLES), (EXAMPLES, "Other: " + EXAMPLES)])
def test_rows_that_enter_while_others_are_written_change_no_reply(base, openings, kept_bytes):
    rows = some_rows(base, 24, openings)
    alone = written(open_decoder(base, num_places=1, kept_bytes=0), rows)
    for num_places in (2, 5, 12):
        assert written(open_decoder(base, num_places=num_places, kept_bytes=kept_bytes), rows) == alone


def test_rows_that_come_later_take_free_places_at_once(base):
    made = open_decoder(base, num_places=4)
    first, late = some_rows(base, 8, ("",)), row("late", base, max_tokens=1)
    made.add([row("long", base, max_tokens=400), *first[:2]])
    made.advance()
    made.add([late])
    assert late in dict(made.advance())
    assert not made.is_idle


def test_rows_with_another_beginning_wait_until_the_batch_is_empty(base):
    rows = [*some_rows(base, 8, (EXAMPLES,)), *some_rows(base, 8, ("",))]
    assert written(open_decoder(base, num_places=4), rows) == written(open_decoder(base, num_places=1), rows)


def test_rows_share_the_seconds_that_all_of_them_took(base):
    made = open_decoder(base, num_places=3)
    made.add(some_rows(base, 6, (EXAMPLES,)))
    begun = time.perf_counter()
    replies = []
    while not made.is_idle:
        replies += [reply for _, reply in made.advance()]
    assert all(reply.seconds > 0 for reply in replies)
    assert sum(reply.seconds for reply in replies) <= time.perf_counter() - begun


def test_what_is_cleared_is_forgotten(base):
    made = open_decoder(base, num_places=2)
    made.add(some_rows(base, 6, ("",)))
    made.advance()
    made.clear()
    assert made.is_idle
    (again,) = rows = [row("a", base, max_tokens=5)]
    assert written(made, rows) == written(open_decoder(base, num_places=1), [again])
