"""Search: BM25 over pages (bm25s), offline and deterministic.

A query or page is read as its lower-case words (`\\w+`), without stemming and without stop words, so that every name
can be found by each of its words. A page whose title is the query comes first, as in an encyclopedia; a query of which
no word stands in any page finds nothing.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import bm25s
import numpy as np
from pydantic import Field

from fireact.config import Config
from fireact.errors import DataError
from fireact.tools import NOTHING, Call
from fireact.world import Page, World

WORD = re.compile(r"\w+")
WORLD = "world"
TITLE_BONUS = 1e6
"""More than any BM25 score."""


class Search:
    """Best pages for some words, cut to snippets."""

    name = "search"

    def __init__(self, pages: Sequence[Page], *, top_k: int = 1, snippet_chars: int = 400) -> None:
        self.pages = pages
        self.top_k = top_k
        self.snippet_chars = snippet_chars
        self.index = _index(tuple(pages))
        self.places: dict[tuple[str, ...], list[int]] = {}
        for place, page in enumerate(pages):
            self.places.setdefault(tuple(_words(page.title)), []).append(place)

    async def __call__(self, argument: str, call: Call) -> str:
        """One line with the best `top_k` snippets, or `None`."""
        return " ".join(self._snippet(page) for page in self.find(argument)) or NOTHING

    def find(self, query: str) -> list[Page]:
        """At most `top_k` pages, best first; pages that share no word with the query are never among them."""
        words = [word for word in _words(query) if word in self.index.vocab_dict]
        if not words:
            return []
        scores = self.index.get_scores(words)
        scores[self.places.get(tuple(_words(query)), [])] += TITLE_BONUS
        best = np.argsort(-scores, kind="stable")[: self.top_k]
        return [self.pages[position] for position in best if scores[position] > 0]

    def random_observation(self, rng: random.Random) -> str:
        """What the search shows for some page: the paper's distracting observation."""
        return self._snippet(rng.choice(self.pages))

    def _snippet(self, page: Page) -> str:
        text = page.text if page.text.startswith(page.title) else f"{page.title}: {page.text}"
        line = " ".join(text.split())
        return line if len(line) <= self.snippet_chars else f"{line[: self.snippet_chars].rstrip()} ..."


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


@lru_cache(maxsize=4)
def _index(pages: tuple[Page, ...]) -> Any:
    index = bm25s.BM25()
    index.index([_words(f"{page.title} {page.text}") for page in pages], show_progress=False)
    return index


class SearchConfig(Config):
    """Search over the pages of the world, or over pages of one's own."""

    kind: Literal["search"] = "search"
    pages: str = WORLD
    """`world`, or the path of a JSON-lines file with `title` and `text`."""
    top_k: int = Field(default=1, ge=1)
    """Pages in one observation."""
    snippet_chars: int = Field(default=400, ge=20)
    """Characters of a page that are shown."""

    def open(self) -> Search:
        pages = World.default().pages if self.pages == WORLD else read_pages(Path(self.pages))
        return Search(pages, top_k=self.top_k, snippet_chars=self.snippet_chars)


def read_pages(path: Path) -> tuple[Page, ...]:
    """The pages of a JSON-lines file.

    Raises:
        DataError: the file cannot be read, a line is not a page, or there is none.
    """
    try:
        # Not splitlines, which also cuts at characters that JSON may hold in a text.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read; give search.pages a JSON-lines file with title and text") from error
    pages = tuple(_page(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())
    if not any(_words(f"{page.title} {page.text}") for page in pages):
        raise DataError(
            f"{path}: holds no page with a word in it; expected one JSON object with title and text in each line"
        )
    return pages


def _page(line: str, place: str) -> Page:
    try:
        value = json.loads(line)
        title, text = value["title"], value["text"]
    except (ValueError, TypeError, KeyError, RecursionError):
        title = text = None
    if not isinstance(title, str) or not isinstance(text, str):
        raise DataError(f"{place}: expected a JSON object with the texts 'title' and 'text'; mend or drop the line")
    return Page(title, text)
