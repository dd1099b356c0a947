"""Intervals, against values from the literature and distributions that can be written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.statistics import paired_difference, wilson

SLEEP = ([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4], [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
"""Additional hours of sleep of ten patients under two drugs (Student 1908, Biometrika 6:1-25)."""


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_values_of_newcombe_1998(successes, n, low, high):
    """Statistics in Medicine 17:857-872, table I, method 3."""
    found = wilson(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.value == successes / n


def test_wilson_is_wider_for_more_confidence():
    assert wilson(5, 10, confidence=0.99).high > wilson(5, 10).high == pytest.approx(0.7634, abs=1e-4)


def test_wilson_knows_nothing_without_trials():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_between_0_and_1_and_holds_the_share(counts):
    found = wilson(*counts)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_difference_of_means_is_that_of_students_sleep_data():
    assert paired_difference(*SLEEP, generator=generator()).value == pytest.approx(1.58)


def test_the_interval_of_students_sleep_data_is_close_to_the_normal_one():
    """1.58 +- 1.96 * 1.167 / sqrt(10) is 0.86 to 2.30; the outlier of 4.6 bends the bootstrap to the right."""
    found = paired_difference(*SLEEP, generator=generator())
    assert (found.low, found.high) == (pytest.approx(0.95, abs=0.06), pytest.approx(2.38, abs=0.06))


def test_of_three_gains_in_ten_the_bootstrap_draws_a_binomial():
    """Drawn counts follow Binomial(10, 0.3): P(0) = 0.028 and P(at most 5) = 0.953, P(at most 6) = 0.989."""
    found = paired_difference([1, 1, 1] + [0] * 7, [0] * 10, generator=generator())
    assert (found.value, found.low, found.high) == (pytest.approx(0.3), 0.0, pytest.approx(0.6))


def test_shared_successes_narrow_the_interval():
    agreeing = paired_difference([1] * 50 + [0] * 50, [1] * 45 + [0] * 55, generator=generator())
    crossing = paired_difference([1] * 50 + [0] * 50, [0] * 55 + [1] * 45, generator=generator())
    assert agreeing.value == crossing.value
    assert agreeing.high - agreeing.low < 0.1 < crossing.high - crossing.low


def test_equal_values_differ_by_nothing():
    found = paired_difference([1, 0, 1], [1, 0, 1], generator=generator())
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_same_seed_gives_the_same_interval():
    first, second, other = (paired_difference(*SLEEP, generator=generator(seed)) for seed in (4, 4, 5))
    assert first == second != other


def test_many_distinct_values_are_drawn_in_blocks():
    values = list(np.linspace(0, 1, 3000))
    found = paired_difference(values, [0] * 3000, generator=generator(), resamples=400)
    assert (found.low, found.high) == (pytest.approx(0.4897, abs=0.003), pytest.approx(0.5103, abs=0.003))


@pytest.mark.parametrize(("a", "b"), [([1], []), ([], [])])
def test_values_of_other_questions_are_refused(a, b):
    with pytest.raises(ValueError, match="the same questions"):
        paired_difference(a, b, generator=generator())
