"""models/pace.py: when calls to a server may start."""

import asyncio

import pytest

from fireact.models import pace as pace_module
from fireact.models.pace import Allowance, Pace


async def call(pace: Pace, seconds: float = 0.0, tokens: int = 1) -> float:
    started = await pace.enter(tokens)
    try:
        await asyncio.sleep(seconds)
    finally:
        pace.leave()
    return started


def run(coroutine):
    return asyncio.run(coroutine)


def test_no_more_calls_than_the_concurrency_are_under_way():
    async def play():
        pace, most = Pace(concurrency=3), 0

        async def one():
            nonlocal most
            await pace.enter(1)
            most = max(most, pace.under_way)
            await asyncio.sleep(0.001)
            pace.succeeded()
            pace.leave()

        await asyncio.gather(*(one() for _ in range(20)))
        return most, pace.under_way

    assert run(play()) == (3, 0)


def test_until_one_call_has_succeeded_only_the_first_few_start():
    async def play():
        pace = Pace(concurrency=100)
        calls = [asyncio.create_task(pace.enter(1)) for _ in range(50)]
        await asyncio.sleep(0.01)
        before = pace.under_way
        pace.succeeded()
        await asyncio.gather(*calls)
        return before, pace.under_way

    assert run(play()) == (8, 50)


def test_a_slow_server_that_has_refused_nobody_is_soon_asked_by_all(monkeypatch):
    monkeypatch.setattr(pace_module, "SECONDS_WITHOUT_FAILURE", 0.01)

    async def play(fails: bool):
        pace = Pace(concurrency=100)
        calls = [asyncio.create_task(pace.enter(1)) for _ in range(50)]
        await asyncio.sleep(0.001)
        if fails:
            pace.failed()
        await asyncio.sleep(0.03)
        found = pace.under_way
        for one in calls:
            one.cancel()
        return found

    assert run(play(fails=False)) == 50
    assert run(play(fails=True)) == 8


def test_calls_start_in_the_order_in_which_they_came():
    async def play():
        pace, order = Pace(concurrency=1), []

        async def one(number):
            await pace.enter(1)
            order.append(number)
            await asyncio.sleep(0)
            pace.leave()

        await asyncio.gather(*(one(number) for number in range(10)))
        return order

    assert run(play()) == list(range(10))


def test_a_busy_server_halves_the_calls_once_for_each_round_and_successes_widen_them_again():
    async def play():
        pace = Pace(concurrency=16)
        pace.succeeded()
        first, second = await pace.enter(1), await pace.enter(1)
        await asyncio.sleep(0.001)
        pace.busy(first)
        pace.busy(second)
        halved = pace.allowed
        await asyncio.sleep(0.001)
        third = await pace.enter(1)
        pace.busy(third)
        for _ in range(10):
            pace.succeeded()
        return halved, pace.allowed

    halved, widened = run(play())
    assert halved == 8.0
    # Ten successes at about five calls at once: two rounds, two more calls.
    assert 5.5 < widened < 6.5


def test_nobody_starts_before_the_time_that_a_server_named():
    async def play():
        pace = Pace(concurrency=4)
        loop = asyncio.get_running_loop()
        begun = await call(pace)
        pace.busy(begun, retry_after=0.05)
        told = loop.time()
        started = await asyncio.gather(*(call(pace) for _ in range(3)))
        return min(started) - told

    assert run(play()) >= 0.049


def test_requests_keep_to_so_many_a_minute():
    async def play():
        pace = Pace(concurrency=100, requests_per_minute=6000)
        pace.succeeded()
        pace.requests.saved, pace.requests.at = 0.0, asyncio.get_running_loop().time()
        started = await asyncio.gather(*(call(pace) for _ in range(20)))
        return max(started) - min(started)

    # A hundred in a second: the twentieth waits for 0.19 s after the first.
    assert run(play()) >= 0.18


def test_tokens_keep_to_so_many_a_minute():
    async def play():
        pace = Pace(concurrency=100, tokens_per_minute=60_000)
        pace.succeeded()
        pace.tokens.saved, pace.tokens.at = 0.0, asyncio.get_running_loop().time()
        started = await asyncio.gather(*(call(pace, tokens=50) for _ in range(4)))
        return max(started) - min(started)

    assert run(play()) >= 0.14


def test_what_is_not_used_is_saved_for_one_second():
    allowance = Allowance(600.0)
    assert allowance.wait(10, now=100.0) == 0.0
    allowance.use(10)
    assert allowance.wait(1, now=100.0) == pytest.approx(0.1)
    assert allowance.wait(10, now=100.5) == pytest.approx(0.5)
    assert allowance.wait(10, now=200.0) == 0.0
    assert allowance.saved == 10.0


def test_a_request_larger_than_what_can_be_saved_starts_when_all_is_saved_and_others_wait_for_it():
    allowance = Allowance(600.0)
    assert allowance.wait(30, now=1.0) == 0.0
    allowance.use(30)
    assert allowance.wait(1, now=1.0) == pytest.approx(2.1)


def test_a_call_that_is_given_up_while_it_waits_leaves_its_place_to_others():
    async def play():
        pace = Pace(concurrency=1)
        await pace.enter(1)
        waits, next_one = asyncio.create_task(pace.enter(1)), asyncio.create_task(pace.enter(1))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.sleep(0)
        pace.leave()
        await asyncio.wait_for(next_one, 1)
        return pace.under_way

    assert run(play()) == 1


def test_a_start_that_was_granted_to_a_call_that_is_given_up_goes_to_the_next():
    async def play():
        pace = Pace(concurrency=1)
        await pace.enter(1)
        granted, next_one = asyncio.create_task(pace.enter(1)), asyncio.create_task(pace.enter(1))
        await asyncio.sleep(0)
        pace.leave()
        granted.cancel()
        await asyncio.wait_for(next_one, 1)
        return pace.under_way

    assert run(play()) == 1
