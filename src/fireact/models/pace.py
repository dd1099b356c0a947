"""Pace: when a call to a server may start.

At most `concurrency` calls are under way, and no more in a minute than the server allows, in requests and in tokens.
The first calls are few, until it shows that calls succeed: a wrong key costs a handful of calls, not hundreds. A server
that says it is busy is asked less by everyone: the calls under way are halved, once for each round of calls, and none
starts before the time that the server names. Every success widens that again by one call a round (additive increase,
multiplicative decrease: Chiu and Jain 1989).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

FIRST_CALLS = 8
"""At once, until one has succeeded, or none has failed for so long:"""
SECONDS_WITHOUT_FAILURE = 0.25


@dataclass
class Allowance:
    """So many units a minute, evenly: what is not used is saved up for one second, and no longer."""

    per_minute: float
    saved: float = 0.0
    at: float = -math.inf
    """The time, in seconds, for which `saved` holds."""

    @property
    def most(self) -> float:
        return max(1.0, self.per_minute / 60)

    def wait(self, units: float, now: float) -> float:
        """Seconds until so many units may be used; more than can be saved up count as all that can."""
        self.saved, self.at = min(self.most, self.saved + max(0.0, now - self.at) * self.per_minute / 60), now
        return max(0.0, (min(units, self.most) - self.saved) * 60 / self.per_minute)

    def use(self, units: float) -> None:
        self.saved -= units


@dataclass(frozen=True, eq=False)
class _Waiting:
    future: asyncio.Future[None]
    tokens: int


class Pace:
    """Lets calls start, in the order in which they came; for one event loop."""

    def __init__(
        self, *, concurrency: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.concurrency = concurrency
        self.requests = Allowance(requests_per_minute) if requests_per_minute else None
        self.tokens = Allowance(tokens_per_minute) if tokens_per_minute else None
        self.allowed = float(min(concurrency, FIRST_CALLS))
        """Calls that may be under way."""
        self.under_way = 0
        self._is_open: bool | None = None
        """Whether more than the first calls may start; None before the first one."""
        self._has_failed = False
        self._halved_at = -math.inf
        self._not_before = -math.inf
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, tokens: int) -> float:
        """Wait until a call that takes about so many tokens may start; its time, for `busy`. `leave` must follow."""
        loop = asyncio.get_running_loop()
        if self._is_open is None:
            self._is_open = False
            loop.call_later(SECONDS_WITHOUT_FAILURE, self._open)
        if self._waiting or self._wait(tokens, loop.time()) > 0:
            one = _Waiting(loop.create_future(), tokens)
            self._waiting.append(one)
            self._let_in()
            try:
                await one.future
            except asyncio.CancelledError:
                self._forget(one)
                raise
        else:
            self._start(tokens)
        return loop.time()

    def leave(self) -> None:
        """A call has ended, well or not."""
        self.under_way -= 1
        self._let_in()

    def succeeded(self) -> None:
        """A call has had its reply."""
        self._has_failed = False
        if not self._is_open:
            self._open()
        elif self.allowed < self.concurrency:
            self.allowed = min(self.concurrency, self.allowed + 1 / self.allowed)

    def failed(self) -> None:
        """A call has ended without a reply."""
        self._has_failed = True

    def busy(self, started: float, *, retry_after: float = 0.0) -> None:
        """A call that had started then was told to come back, in `retry_after` seconds if the server named a time."""
        now = asyncio.get_running_loop().time()
        if started > self._halved_at:
            self.allowed, self._halved_at = max(1.0, self.allowed / 2), now
        self._not_before = max(self._not_before, now + retry_after)

    def _open(self) -> None:
        if not self._is_open and not self._has_failed:
            self._is_open, self.allowed = True, float(self.concurrency)
            self._let_in()

    def _wait(self, tokens: int, now: float) -> float:
        """Seconds until a call may start; infinite where others must leave first."""
        if self.under_way >= int(self.allowed):
            return math.inf
        wait = self._not_before - now
        if self.requests is not None:
            wait = max(wait, self.requests.wait(1, now))
        if self.tokens is not None:
            wait = max(wait, self.tokens.wait(tokens, now))
        return wait

    def _start(self, tokens: int) -> None:
        self.under_way += 1
        if self.requests is not None:
            self.requests.use(1)
        if self.tokens is not None:
            self.tokens.use(tokens)

    def _let_in(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting:
            first = self._waiting[0]
            if not first.future.cancelled():
                wait = self._wait(first.tokens, loop.time())
                if wait > 0:
                    if wait < math.inf:
                        self._timer = loop.call_later(wait, self._let_in)
                    return
                self._start(first.tokens)
                first.future.set_result(None)
            self._waiting.popleft()

    def _forget(self, one: _Waiting) -> None:
        """Give up a place in the line, or the start that was granted and came too late."""
        if one.future.done() and not one.future.cancelled():
            self.leave()
        elif one in self._waiting:
            self._waiting.remove(one)
            self._let_in()
