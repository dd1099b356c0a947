"""Money: what tokens cost, and a hard cap on what a stage may spend.

A call is paid for in two steps. Before it starts, the most that it can cost is set aside; when its reply is there, what
it did cost is booked instead. A call whose reply was lost may have been billed, so all that was set aside stays booked.
The spending can therefore never pass the cap, however many calls are under way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from pydantic import Field

from fireact.config import Config
from fireact.errors import BudgetError

MILLION = 1_000_000
AHEAD_SHARE, LEAST_AHEAD = 0.01, 0.01
"""Of what is spent, and dollars at least, by which the booked amount runs ahead, so that it is seldom written."""


class Price(Config):
    """Dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)
    """For tokens that the provider had read before; as `input` where None."""

    def cost(self, *, tokens_in: int, tokens_out: int, cached_in: int = 0) -> float:
        """Dollars for one call; `cached_in` of its `tokens_in` had been read before."""
        cached = self.input if self.cached_input is None else self.cached_input
        return ((tokens_in - cached_in) * self.input + cached_in * cached + tokens_out * self.output) / MILLION


@dataclass(frozen=True)
class PriceTable:
    """List prices on a day."""

    date: str
    prices: dict[str, Price]

    def find(self, model: str) -> Price | None:
        """The price of a model by its name, or by its name without the date at its end; None where it is not known."""
        fitting = [name for name in self.prices if model == name or _is_dated(model, name)]
        return self.prices[max(fitting, key=len)] if fitting else None


def _is_dated(model: str, name: str) -> bool:
    rest = model.removeprefix(f"{name}-")
    return rest != model and rest.replace("-", "").isdecimal()


@cache
def price_table() -> PriceTable:
    """The list prices that come with the package."""
    table: dict[str, Any] = json.loads(resources.files("fireact").joinpath("prices.json").read_text(encoding="utf-8"))
    prices = {name: Price.model_validate(values) for name, values in table["dollars_per_million_tokens"].items()}
    return PriceTable(table["date"], prices)


class Budget:
    """What may still be spent, for one event loop; without a cap, everything."""

    def __init__(
        self, dollars: float | None = None, *, spent: float = 0.0, book: Callable[[float], None] | None = None
    ) -> None:
        """
        Args:
            dollars: the cap; None for none.
            spent: what counts as spent before.
            book: stores a total that the spending will not pass before the next call of it, so that a process that is
                killed leaves no more than that to be spent again.
        """
        self.dollars = dollars
        self.spent = spent
        self.set_aside = 0.0
        self.under_way = 0
        self._book = book
        self._booked = spent
        self._waiting: list[asyncio.Future[None]] = []

    async def reserve(self, most: float) -> None:
        """Set aside the most that a call can cost; waits for calls under way where that is what is missing.

        Raises:
            BudgetError: too little is left, and nothing is under way.
        """
        while self.dollars is not None and self.spent + self.set_aside + most > self.dollars:
            if not self.under_way:
                raise BudgetError(self._refusal(most))
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        self.set_aside += most
        self.under_way += 1
        self._book_ahead()

    def settle(self, most: float, cost: float) -> None:
        """A call for which `most` was set aside has cost `cost`."""
        self.under_way -= 1
        # Not the difference of many sums alone, which rounding keeps from 0.
        self.set_aside = self.set_aside - most if self.under_way else 0.0
        self.spent += cost
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def close(self) -> None:
        """Book what was spent, now that no call is under way."""
        if self._book is not None and self._booked != self.spent:
            self._book(self.spent)
            self._booked = self.spent

    def _book_ahead(self) -> None:
        if self._book is None or self.spent + self.set_aside <= self._booked:
            return
        needed = self.spent + self.set_aside
        ahead = needed + max(LEAST_AHEAD, AHEAD_SHARE * needed)
        self._booked = ahead if self.dollars is None else min(ahead, max(needed, self.dollars))
        self._book(self._booked)

    def _refusal(self, most: float) -> str:
        return (
            f"the budget of ${self.dollars:g} is used up: ${self.spent:.4f} are spent and the next call may cost "
            f"${most:.4f}; what was finished is kept; to go on, run the same command with a higher budget_usd"
        )
