"""tools/cached.py: what a costly tool observed once is not asked for again."""

import asyncio

import pytest

from fireact.cache import Cache
from fireact.errors import ToolError
from fireact.tools import Call, SearchConfig, add_cache, open_tool

CALL = Call("q", 0)


class Paid:
    name = "search"

    def __init__(self, cache_key: str = "web top_k=1") -> None:
        self.cache_key = cache_key
        self.asked = []

    async def __call__(self, argument: str, call: Call) -> str:
        self.asked.append(argument)
        if argument == "fail":
            raise ToolError("closed")
        return f"found {argument}"


def ask(tool, *arguments: str) -> list[str]:
    async def play():
        return [await tool(argument, CALL) for argument in arguments]

    return asyncio.run(play())


def test_an_argument_is_asked_for_once_by_all_runs(tmp_path):
    paid = Paid()
    with Cache(tmp_path / "c.sqlite") as cache:
        assert ask(add_cache(paid, cache), "a", "b", "a") == ["found a", "found b", "found a"]
    with Cache(tmp_path / "c.sqlite") as cache:
        tool = add_cache(paid, cache)
        assert (tool.name, ask(tool, "b")) == ("search", ["found b"])
    assert paid.asked == ["a", "b"]


def test_other_settings_are_another_question(tmp_path):
    first, other = Paid(), Paid("web top_k=5")
    with Cache(tmp_path / "c.sqlite") as cache:
        ask(add_cache(first, cache), "a")
        ask(add_cache(other, cache), "a")
    assert (first.asked, other.asked) == (["a"], ["a"])


def test_what_failed_is_asked_for_again(tmp_path):
    paid = Paid()
    with Cache(tmp_path / "c.sqlite") as cache:
        for _ in range(2):
            with pytest.raises(ToolError, match="closed"):
                ask(add_cache(paid, cache), "fail")
    assert paid.asked == ["fail", "fail"]


def test_a_tool_that_costs_nothing_is_left_as_it_is(tmp_path):
    tool = open_tool(SearchConfig())
    assert add_cache(tool, Cache(tmp_path / "c.sqlite")) is tool
