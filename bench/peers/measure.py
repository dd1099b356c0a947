"""What every side of `bench/harness.py` is measured with; standard library alone, since each has packages of its own.

A side says how it plays episodes; `drive` lets it play a few to get warm, then all that are asked for, and prints what
they took as one JSON line: seconds, seconds of this process's CPU, peak memory, and how many answers were right.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

MOST_WARM = 16
"""Episodes before the clock runs, and no more than run at once; their numbers come after those that count."""
TASK = "Answer the question. Search for what you need."
Play = Callable[[Iterable[int]], Awaitable[int]]
"""Plays the episodes of these numbers and says how many answers were right."""


@dataclass(frozen=True)
class Given:
    """What a side is to do."""

    url: str
    """Of the server, up to and with `/v1`."""
    concurrency: int
    episodes: int


def ask(number: int) -> str:
    return f"What is number {number:06d}?"


def is_right(number: int, answer: str | None) -> bool:
    """Whether this is what the server's model answers; both find it in the question."""
    return answer is not None and answer.strip() == f"{number:06d}"[1:]


def look_up(query: str) -> str:
    """Search for a query."""
    return f"Nothing is known about {query}."


async def play_at_once(concurrency: int, numbers: Iterable[int], episode: Callable[[int], Awaitable[bool]]) -> int:
    """Let so many workers draw numbers until there are none; how many answers were right."""
    waiting = iter(numbers)

    async def work() -> int:
        return sum([await episode(number) for number in waiting])

    return sum(await asyncio.gather(*(work() for _ in range(concurrency))))


def drive(open_side: Callable[[Given], AbstractAsyncContextManager[Play]]) -> None:
    """Measure one side as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("concurrency", type=int)
    parser.add_argument("episodes", type=int)
    given = Given(**vars(parser.parse_args()))

    async def measure() -> dict[str, float]:
        async with open_side(given) as play:
            return await _measure(given, play)

    print(json.dumps(asyncio.run(measure())), flush=True)


async def _measure(given: Given, play: Play) -> dict[str, float]:
    num_warm = min(given.concurrency, MOST_WARM)
    right = await play(range(given.episodes, given.episodes + num_warm))
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    right += await play(range(given.episodes))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "episodes": given.episodes,
        "warm": num_warm,
        "seconds": wall,
        "cpu": cpu,
        "memory_mib": peak_mib(),
        "wrong": given.episodes + num_warm - right,
    }


def peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
