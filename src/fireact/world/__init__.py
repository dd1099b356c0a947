"""The embedded world: a closed set of people, towns, works and organisations that nobody has read about.

It lets the whole loop run offline with known truth: pages to search, questions with gold reasoning chains, a teacher
that reads and errs, and a small base model that knows the famous half by heart.
"""

from pathlib import Path

from fireact.world.pages import Entity, Page, World

__all__ = ["Entity", "Page", "World", "base_path"]


def base_path() -> Path:
    """The folder of the shipped base weights and tokenizer."""
    return Path(__file__).parent / "base"
