"""Steps of a thought that are spelled out: the base has practised them, and the oracle's thoughts contain them. Pure.

A small model does not hold the title of a page against what was searched in silence, nor one year against another. In
words, each is a copy and a comparison of things that stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence


def check_page(wanted: str, shown: str | None = None) -> str:
    """Whether a page is the one that was searched for; `shown` is its title where it is not."""
    return f"About {wanted}? {'yes' if shown is None else f'no, about {shown}'}."


def place(page: int, pages: int, *, later: bool | None = None) -> str:
    """Where in its plan a thought is, and which year a comparison asks for.

    Said in every thought, so that it is copied from the one before and not counted.
    """
    return f"Page {page} of {pages}." if later is None else f"Page {page} of {pages}. {asked_year(later=later)}."


def asked_year(*, later: bool) -> str:
    """Which of two years a question asks for."""
    return f"The year asked: {'later' if later else 'earlier'}"


def compare_years(names: Sequence[str], years: Sequence[str], *, later: bool) -> str:
    """Two years of four digits, digit by digit until they differ; which is which; and the name that is asked for.

    A word before each name, and before the choice, makes the choice a copy of what followed that word.
    """
    digits = list(zip(*years, strict=True))
    unlike = next((position for position, (one, other) in enumerate(digits) if one != other), len(digits) - 1)
    pairs = ", ".join(f"{one} {other}" for one, other in digits[: unlike + 1])
    words = ("earlier", "later") if int(years[0]) <= int(years[1]) else ("later", "earlier")
    chosen = names[words.index("later" if later else "earlier")]
    return (
        f"{names[0]} {years[0]}, {names[1]} {years[1]}: {pairs}: {words[0]} {names[0]}, {words[1]} {names[1]}. "
        f"{asked_year(later=later)} {chosen}."
    )
