"""models/protocol.py: bodies of the OpenAI protocol -> answers and errors."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.errors import AccessError, BusyError, ModelError, RefusalError
from fireact.models.protocol import Answer, cut, failure, may_be_billed, read_answer

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}


def chat(message: dict, **more) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"} | more], "usage": USAGE}).encode()


def test_a_chat_reply_has_its_text_and_counts():
    assert read_answer(chat({"role": "assistant", "content": "Thought: x"})) == Answer("Thought: x", 12, 3, cached_in=8)


def test_a_plain_completion_has_its_text():
    body = json.dumps({"choices": [{"text": " and so on", "finish_reason": "length"}]}).encode()
    assert read_answer(body) == Answer(" and so on", None, None)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ('{"query": "Ann Bo"}', "Ann Bo"),
        ('{"query": "Ann", "top_k": 3}', '{"query": "Ann", "top_k": 3}'),
        ('{"number": 3}', '{"number": 3}'),
        ("{}", "{}"),
        ("not json", "not json"),
    ],
)
def test_a_native_tool_call_becomes_an_action(arguments, argument):
    called = {"id": "c", "type": "function", "function": {"name": "search", "arguments": arguments}}
    answer = read_answer(chat({"content": "I look for Ann.", "tool_calls": [called]}))
    assert answer.text == f"Thought: I look for Ann.\nAction: search[{argument}]"
    bare = read_answer(chat({"content": None, "tool_calls": [called]}))
    assert bare.text == f"Action: search[{argument}]"


def test_a_refusal_and_a_content_filter_are_told_apart_from_replies():
    assert read_answer(chat({"content": None, "refusal": "I cannot."})).refusal == "I cannot."
    assert (
        read_answer(chat({"content": "half a"}, finish_reason="content_filter")).refusal
        == "stopped by the content filter"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"message": {"content": 3}}]}', b'{"choices": [{"message": []}]}', b'{"choices": {"0": 1}}',
        b'{"choices": [{"text": "a"}], "usage": 3}', b'{"choices": [{"message": {"tool_calls": [3]}}]}', b"[" * 100_000,
        b"\xff\xfe{}", b"null",
    ],
)  # fmt: skip
def test_a_damaged_body_may_come_whole_another_time(body):
    with pytest.raises(BusyError, match="the reply is damaged"):
        read_answer(body)


KEYS = ("choices", "message", "content", "usage", "text", "tool_calls", "function", "name", "arguments")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
)


@given(json_values)
def test_no_body_raises_anything_else(value):
    for body in (value, {"choices": [value]}, {"choices": [{"message": value}]}):
        with suppress(BusyError):
            assert isinstance(read_answer(json.dumps(body).encode()).text, str)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"code": "invalid_api_key", "message": "no"}, AccessError),
        (403, {"message": "no"}, AccessError),
        (404, {"code": "model_not_found", "message": "no"}, AccessError),
        (307, {}, AccessError),
        (429, {"message": "slow"}, BusyError),
        (429, {"code": "insufficient_quota", "message": "pay"}, AccessError),
        (500, {"message": "oh"}, BusyError),
        (503, {"message": "oh"}, BusyError),
        (408, {"message": "late"}, BusyError),
        (400, {"code": "content_filter", "message": "no"}, RefusalError),
        (400, {"code": "context_length_exceeded", "message": "long"}, ModelError),
        (422, {"message": "what"}, ModelError),
    ],
)
def test_a_status_says_whether_to_try_again(status, error, kind):
    found = failure(status, json.dumps({"error": error}).encode(), retry_after=0.0)
    assert type(found) is kind
    assert f"status {status}: " in str(found)


def test_an_overloaded_server_is_one_that_says_so():
    assert failure(429, b"", retry_after=2.0).is_overload
    assert failure(429, b"", retry_after=2.0).retry_after == 2.0
    assert not failure(500, b"", retry_after=0.0).is_overload


@pytest.mark.parametrize(
    "body",
    [b"<html>gone</html>", b'{"detail": "gone"}', b'{"error": "gone"}', b'{"error": {"message": "gone"}}', b'"gone"'],
)
def test_an_error_body_of_any_form_is_shown(body):
    assert "gone" in str(failure(500, body, retry_after=0.0))


def test_a_long_error_body_is_cut():
    assert len(str(failure(500, b"x" * 10**6, retry_after=0.0))) < 300


def test_only_a_gateway_that_gave_up_leaves_a_bill_open():
    assert [status for status in (400, 401, 404, 429, 500, 502, 503, 504) if may_be_billed(status)] == [500, 502, 504]


def test_a_text_ends_before_the_first_stop_string():
    assert cut("a\nObservation: b Question: c", ("Question:", "\nObservation:")) == "a"
    assert cut("abc", ("", "x")) == "abc"
