"""Progress of a long loop: a bar on a terminal, plain lines elsewhere, silence in a library.

Both go the way of this module's log messages: nothing is shown unless the program has turned on INFO for it, as the
command line does.
"""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

SHARE_BETWEEN_LINES = 0.1
LEAST_SECONDS, SECONDS_BETWEEN_LINES = 1.0, 5.0
LEAST_SHARE = 0.05
"""Of what was to do, before the time that is left can be told."""
logger = logging.getLogger(__name__)
_may_draw = True


def show_lines() -> None:
    """Show plain lines from now on: the bars of several processes would write over each other."""
    global _may_draw
    _may_draw = False


class Progress:
    """Counts what is done; a context manager that ends the bar."""

    def __init__(self, label: str, total: int, *, before: int = 0) -> None:
        """`before`: how many of the total were done by an earlier start."""
        self.label = label
        self.total = total
        self.before = self.done = before
        self.in_flight = 0
        self.tokens = 0
        self.dollars = 0.0
        self.notes: dict[str, int] = {}
        self._started = self._last_time = time.monotonic()
        self._last_done = before
        shown = _may_draw and logger.isEnabledFor(logging.INFO) and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=before, desc=label, dynamic_ncols=True) if shown else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self) -> None:
        """One more is in flight."""
        self.in_flight += 1

    def advance(self, *, tokens: int = 0, dollars: float = 0.0, **notes: int) -> None:
        """One more is done; `notes` are added up and shown by name where they are not 0."""
        self.done += 1
        self.in_flight = max(0, self.in_flight - 1)
        self.tokens += tokens
        self.dollars += dollars
        for name, count in notes.items():
            self.notes[name] = self.notes.get(name, 0) + count
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(self._counts()), refresh=False)
            self._bar.update()
        elif self._is_line_due():
            self._last_time, self._last_done = time.monotonic(), self.done
            logger.info(self.line())

    def line(self) -> str:
        """Where the loop stands, in one line."""
        seconds = time.monotonic() - self._started
        counts = "".join(f", {count}" for count in self._counts())
        return f"{self.label}: {self.done}/{self.total}{counts}, {seconds:.0f} s{self._left(seconds)}"

    def _left(self, seconds: float) -> str:
        """The time that is left, once enough is done to tell."""
        done, rest = self.done - self.before, self.total - self.done
        if not rest or done < LEAST_SHARE * (done + rest):
            return ""
        return f", about {seconds / done * rest:.0f} s left"

    def _counts(self) -> list[str]:
        """What there is to tell besides how much is done."""
        counts = [f"{count} {name}" for name, count in self.notes.items() if count]
        if self.in_flight and self.done < self.total:
            counts.append(f"{self.in_flight} in flight")
        if self.tokens:
            counts.append(f"{self.tokens:,} tokens")
        if self.dollars:
            counts.append(f"${self.dollars:.4f}")
        return counts

    def _is_line_due(self) -> bool:
        if self.done == self.total:
            return True
        share = (self.done - self._last_done) / max(self.total, 1)
        waited = time.monotonic() - self._last_time
        return waited >= SECONDS_BETWEEN_LINES or (share >= SHARE_BETWEEN_LINES and waited >= LEAST_SECONDS)
