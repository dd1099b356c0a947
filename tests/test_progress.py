"""progress.py: a bar on a terminal, plain lines elsewhere, silence in a library."""

import logging
import sys

import pytest

from fireact.progress import Progress


class Terminal:
    """A standard error that says it is a terminal."""

    def __init__(self):
        self.shown = ""

    def isatty(self):
        return True

    def write(self, text):
        self.shown += text

    def flush(self):
        pass


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger="fireact")
    return caplog


def advance(total, **notes):
    with Progress("generate", total) as progress:
        for _ in range(total):
            progress.advance(**notes)


def test_each_tenth_is_a_line_where_there_is_no_terminal(told, monkeypatch):
    monkeypatch.setattr("fireact.progress.LEAST_SECONDS", 0.0)
    advance(20, correct=1, failed=0)
    assert len(told.messages) == 10
    assert told.messages[0].startswith("generate: 2/20, 2 correct, 0 s, about ")
    assert told.messages[-1] == "generate: 20/20, 20 correct, 0 s"


def test_a_loop_that_takes_no_time_has_its_last_line_only(told):
    advance(20)
    assert told.messages == ["generate: 20/20, 0 s"]


def test_a_loop_that_goes_on_counts_what_was_done_before_and_judges_by_what_is_done_now():
    with Progress("generate", 100, before=80) as progress:
        assert progress.line() == "generate: 80/100, 0 s"
        progress.advance()
        assert progress.line().startswith("generate: 81/100, 0 s, about ")


def test_a_slow_loop_has_a_line_before_its_first_tenth(told, monkeypatch):
    monkeypatch.setattr("fireact.progress.SECONDS_BETWEEN_LINES", 0.0)
    with Progress("generate", 100) as progress:
        progress.advance()
    assert told.messages[0].startswith("generate: 1/100, ")


def test_it_is_silent_in_a_library(caplog):
    caplog.set_level(logging.WARNING, logger="fireact")
    advance(2)
    assert caplog.messages == []


def test_a_terminal_has_a_bar_and_no_lines(told, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    advance(3, correct=1, failed=0)
    assert "generate: 100%" in terminal.shown
    assert "3 correct" in terminal.shown
    assert "failed" not in terminal.shown
    assert told.messages == []
