"""money.py: prices, and the cap that is never passed."""

import asyncio
import random

import pytest

from fireact.errors import BudgetError
from fireact.money import Budget, Price, price_table


def test_a_price_is_for_a_million_tokens():
    price = Price(input=2.5, output=10.0)
    assert price.cost(tokens_in=1_000_000, tokens_out=100_000) == pytest.approx(3.5)


def test_tokens_that_the_provider_had_read_before_have_a_price_of_their_own():
    price = Price(input=2.0, output=8.0, cached_input=0.5)
    assert price.cost(tokens_in=1000, tokens_out=0, cached_in=400) == pytest.approx((600 * 2 + 400 * 0.5) / 1e6)
    assert Price(input=2.0, output=8.0).cost(tokens_in=1000, tokens_out=0, cached_in=400) == pytest.approx(0.002)


def test_the_table_knows_models_by_name_and_by_name_with_a_date():
    table = price_table()
    assert table.date == "2025-08-31"
    assert table.find("gpt-4o-mini") == Price(input=0.15, output=0.6, cached_input=0.075)
    assert table.find("gpt-4o-mini-2024-07-18") == table.find("gpt-4o-mini")
    assert table.find("gpt-4o-audio-preview") is None
    assert table.find("gpt-4o-2024-08-06") == table.find("gpt-4o")
    assert table.find("my-model") is None


def test_a_call_that_may_pass_the_cap_waits_for_those_under_way():
    async def play():
        budget = Budget(1.0)
        await budget.reserve(0.6)
        second = asyncio.create_task(budget.reserve(0.6))
        await asyncio.sleep(0)
        waited = not second.done()
        budget.settle(0.6, 0.1)
        await second
        return waited, budget.spent, budget.set_aside

    assert asyncio.run(play()) == (True, 0.1, 0.6)


def test_a_call_that_cannot_fit_is_refused_with_what_was_spent_and_how_to_go_on():
    async def play():
        budget = Budget(1.0)
        await budget.reserve(0.6)
        waiting = asyncio.create_task(budget.reserve(0.6))
        await asyncio.sleep(0)
        budget.settle(0.6, 0.55)
        await waiting

    with pytest.raises(BudgetError, match=r"budget of \$1 is used up: \$0.5500 are spent .* higher budget_usd"):
        asyncio.run(play())


@pytest.mark.parametrize("seed", range(20))
def test_spending_never_passes_the_cap_however_many_calls_are_under_way(seed):
    rng, paid = random.Random(seed), []

    async def call(budget):
        most = rng.uniform(0.001, 0.02)
        try:
            await budget.reserve(most)
        except BudgetError:
            return
        await asyncio.sleep(rng.random() * 0.001)
        cost = rng.uniform(0, most)
        paid.append(cost)
        assert sum(paid) <= 1.0
        budget.settle(most, cost)

    async def play():
        budget = Budget(1.0)
        await asyncio.gather(*(call(budget) for _ in range(512)))
        return budget

    budget = asyncio.run(play())
    assert 0.95 < budget.spent <= 1.0
    assert budget.under_way == 0


def test_without_a_cap_everything_is_let_through_and_counted():
    async def play():
        budget = Budget()
        for _ in range(3):
            await budget.reserve(100.0)
            budget.settle(100.0, 50.0)
        return budget.spent

    assert asyncio.run(play()) == 150.0


def test_what_is_booked_is_never_less_than_what_is_spent_and_seldom_written():
    booked = []

    async def play():
        budget = Budget(10.0, book=booked.append)
        for _ in range(1000):
            await budget.reserve(0.002)
            budget.settle(0.002, 0.001)
            assert booked[-1] >= budget.spent
        budget.close()

    asyncio.run(play())
    assert booked[-1] == pytest.approx(1.0)
    assert len(booked) < 150


def test_nothing_is_booked_where_nothing_costs():
    booked = []

    async def play():
        budget = Budget(book=booked.append)
        await budget.reserve(0.0)
        budget.settle(0.0, 0.0)
        budget.close()

    asyncio.run(play())
    assert booked == []


def test_what_was_spent_before_counts():
    async def play():
        await Budget(1.0, spent=0.999).reserve(0.01)

    with pytest.raises(BudgetError, match=r"\$0.9990 are spent"):
        asyncio.run(play())
