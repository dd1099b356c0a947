"""A step of a thought that is spelled out: the base has practised it, and the oracle's thoughts contain it. Pure.

A small model does not hold the title of a page against what was searched in silence. In words, it is a copy and a
comparison of names that stand side by side.
"""

from __future__ import annotations


def check_page(wanted: str, shown: str | None = None) -> str:
    """Whether a page is the one that was searched for; `shown` is its title where it is not."""
    return f"About {wanted}? {'yes' if shown is None else f'no, about {shown}'}."
