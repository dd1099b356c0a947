"""tools/search.py: BM25 over pages, one line for an observation, `None` where nothing matches."""

import asyncio
import random

import pytest

from fireact.errors import DataError
from fireact.tools import Call, SearchConfig, open_tool
from fireact.tools.search import Search, read_pages
from fireact.world import Page, World

PAGES = (
    Page("Lund", "Lund is a town in Sweden.\nIt has a cathedral."),
    Page("Bergen", "Bergen is a town in Norway. It rains in Bergen."),
    Page("Oslo", "The capital of Norway."),
)


def search(tool, words):
    return asyncio.run(tool(words, Call("q", 0)))


def test_the_best_page_is_shown_in_one_line():
    assert search(Search(PAGES), "lund cathedral") == "Lund is a town in Sweden. It has a cathedral."


def test_a_title_that_the_text_does_not_open_with_is_put_before_it():
    assert search(Search(PAGES), "Oslo") == "Oslo: The capital of Norway."


@pytest.mark.parametrize("words", ["", "   ", "Reykjavik", "?!", "[]", "\ud800"])
def test_nothing_in_common_finds_nothing(words):
    assert search(Search(PAGES), words) == "None"


def test_top_k_pages_come_best_first_and_only_those_that_match():
    assert search(Search(PAGES, top_k=3), "Norway Bergen") == (
        "Bergen is a town in Norway. It rains in Bergen. Oslo: The capital of Norway."
    )


def test_a_long_page_is_cut():
    assert search(Search(PAGES, snippet_chars=20), "Lund") == "Lund is a town in Sw ..."


def test_every_page_of_the_world_is_found_by_its_title():
    tool = open_tool(SearchConfig())
    assert [search(tool, page.title) for page in World.default().pages] == [page.text for page in World.default().pages]


def test_a_random_observation_is_some_page():
    assert Search(PAGES).random_observation(random.Random(0)) in {
        "Lund is a town in Sweden. It has a cathedral.",
        "Bergen is a town in Norway. It rains in Bergen.",
        "Oslo: The capital of Norway.",
    }


def test_own_pages_are_read_from_json_lines(tmp_path):
    path = tmp_path / "pages.jsonl"
    path.write_text('{"title": "Lund", "text": "a town", "more": 1}\n\n')
    assert search(open_tool(SearchConfig(pages=str(path))), "town") == "Lund: a town"


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"title": "x"}', '{"title": 1, "text": "x"}'])
def test_a_line_that_is_no_page_is_named(tmp_path, line):
    path = tmp_path / "pages.jsonl"
    path.write_text('{"title": "Lund", "text": "a town"}\n' + line)
    with pytest.raises(DataError, match=r"pages\.jsonl:2: expected a JSON object"):
        open_tool(SearchConfig(pages=str(path)))


def test_a_missing_or_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        open_tool(SearchConfig(pages=str(tmp_path / "none.jsonl")))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no page"):
        open_tool(SearchConfig(pages=str(tmp_path / "empty.jsonl")))


def test_a_line_of_pages_may_hold_any_character_that_json_may(tmp_path):
    (tmp_path / "pages.jsonl").write_bytes('\ufeff{"title": "A\u2028B", "text": "c\x85d"}\n'.encode())
    assert [page.title for page in read_pages(tmp_path / "pages.jsonl")] == ["A\u2028B"]


def test_pages_without_a_word_are_refused(tmp_path):
    (tmp_path / "pages.jsonl").write_text('{"title": "!!!", "text": "???"}\n')
    with pytest.raises(DataError, match="holds no page with a word in it"):
        read_pages(tmp_path / "pages.jsonl")
