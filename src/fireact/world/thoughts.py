"""Two steps of a thought, spelled out: which the base has practised, and which the oracle uses. Pure.

A small model does neither in silence: holding the title of a page against what was searched, and choosing between two
years. In words, each is a copy and a comparison of things that stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence


def check_page(wanted: str, shown: str | None = None) -> str:
    """Whether a page is the one that was searched for; `shown` is its title where it is not."""
    return f"About {wanted}? {'yes' if shown is None else f'no, about {shown}'}."


def weigh(question: str, names: Sequence[str], years: Sequence[str], *, later: bool) -> str:
    """What is asked, the two years before their names, so that the name can be found by the year, and the choice."""
    best = (max if later else min)(years, key=int)
    named = " ".join(f"{year}: {name}." for year, name in zip(years, names, strict=True))
    word = "later" if later else "earlier"
    return f"{question} {named} Of {years[0]} and {years[1]} the {word} is {best}: {names[years.index(best)]}."
