"""Intervals for what a sample of questions says about all of them. Pure: randomness comes in as a generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

RESAMPLES = 10_000
MOST_DRAWN = 1 << 20
"""Counts drawn at once by the bootstrap: 8 MiB."""


@dataclass(frozen=True)
class Estimate:
    """A value and the interval around it."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """The share of successes with the score interval of Wilson (1927, JASA 22:209-212), all in [0, 1].

    It is the set of shares that a two-sided normal test would not reject. Unlike value +- 1.96 standard errors, it
    stays inside [0, 1] and has a width where nothing or everything succeeded. Of no trials, nothing is known:
    value 0, interval [0, 1].

    Raises:
        ValueError: there are more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected between 0 and {n} successes, got {successes}")
    if n == 0:
        return Estimate(0.0, 0.0, 1.0)
    z = _normal_quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the bound is the share itself; rounding may miss it by one bit.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return Estimate(share, low, high)


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Estimate:
    """Mean of `a` minus mean of `b` over the same questions, with the percentile interval of the paired bootstrap.

    Questions are drawn again with replacement, each with both of its values (Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, sections 8.3 and 13.3; for systems on one test set, Koehn 2004, W04-3250). Those that
    both answer alike thus narrow the interval, as in McNemar's test. Few questions give too narrow an interval; where
    all differ by the same, it has no width.

    Args:
        a, b: one value per question, in the same order.

    Raises:
        ValueError: the lengths differ, or there is nothing to compare.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"expected values for the same questions, got {len(a)} and {len(b)}")
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    means = _resampled_means(differences, resamples, generator)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(differences.mean()), float(low), float(high))


def _resampled_means(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], resamples: int, generator: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Means of `resamples` samples of the same size; shape (resamples,).

    How often each distinct value is drawn follows a multinomial distribution. Scores of 0 and 1 have three distinct
    differences, so this costs nothing however many questions there are.
    """
    distinct, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    at_once = max(1, MOST_DRAWN // len(distinct))
    blocks = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    return np.concatenate([generator.multinomial(len(values), shares, size) @ distinct for size in blocks]) / len(
        values
    )


def _normal_quantile(confidence: float) -> float:
    """How many standard deviations around the mean hold this share of a normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)
