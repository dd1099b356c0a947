"""LangGraph's side of `bench/harness.py`: the graph of `create_agent`, many episodes on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from measure import TASK, Given, Play, ask, drive, is_right, look_up, play_at_once


@tool
async def search(query: str) -> str:
    """Search."""
    return look_up(query)


@asynccontextmanager
async def open_side(given: Given) -> AsyncIterator[Play]:
    model = ChatOpenAI(model="m", base_url=given.url, api_key="none", max_retries=0, timeout=600, temperature=0)
    agent = create_agent(model, [search], system_prompt=TASK)

    async def episode(number: int) -> bool:
        messages = [{"role": "user", "content": f"Question: {ask(number)}"}]
        ended = await agent.ainvoke({"messages": messages})
        return is_right(number, ended["messages"][-1].text)

    yield lambda numbers: play_at_once(given.concurrency, numbers, episode)


if __name__ == "__main__":
    drive(open_side)
