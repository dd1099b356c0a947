"""The OpenAI protocol, both ways, as values: a request -> a body, a body -> an answer, a status -> an error. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fireact.errors import AccessError, BusyError, ModelError, RefusalError

OK = 200
OVERLOAD = (429, 503)
PASSING = (408, 409, 425, *OVERLOAD)
"""Statuses besides 500 and above after which the same call may succeed."""
NO_ACCESS = (301, 302, 307, 308, 401, 403, 404, 405)
FILTERED = ("content_filter", "content_policy_violation")
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
MOST_STOPS = 4
"""Stop strings that servers take."""
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Answer:
    """What a server replied."""

    text: str
    tokens_in: int | None
    """None, as the next two, where the server does not say."""
    tokens_out: int | None
    cached_in: int = 0
    """Of `tokens_in`, those that the provider had read before."""
    refusal: str = ""
    """Why the model or a filter did not reply; empty if it did."""
    seconds: float = 0.0
    """From the request to the reply."""

    def as_values(self) -> dict[str, Any]:
        """As plain JSON types; `Answer(**values)` is the way back."""
        return asdict(self)


def read_answer(body: bytes) -> Answer:
    """The answer in the body of a chat or plain completion.

    A native tool call becomes the lines of a ReAct reply, with the text beside it as the thought.

    Raises:
        BusyError: the body is damaged: what was sent may have been right.
    """
    try:
        value = json.loads(body)
        choice = value["choices"][0]
        message = choice.get("message")
        text = choice["text"] if message is None else _message_text(message)
        usage = value.get("usage") or {}
        if not isinstance(text, str):
            raise TypeError("the text is none")
        details = usage.get("prompt_tokens_details") or {}
        refusal = (message or {}).get("refusal") or ""
        if choice.get("finish_reason") == "content_filter":
            refusal = refusal or "stopped by the content filter"
        return Answer(
            text=text,
            tokens_in=_count(usage.get("prompt_tokens")),
            tokens_out=_count(usage.get("completion_tokens")),
            cached_in=_count(details.get("cached_tokens")) or 0,
            refusal=str(refusal),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BusyError(f"the reply is damaged: {_shown(body)!r}", has_reached=False) from error


def failure(status: int, body: bytes, *, retry_after: float) -> ModelError:
    """The error for a status other than 200."""
    code, message = _server_error(body)
    said = f"status {status}: {message}"
    if code in NO_MONEY:
        return AccessError(f"{said}; the account has no credit left")
    if code in FILTERED:
        return RefusalError(said)
    if status in NO_ACCESS:
        return AccessError(f"{said}; check the key, base_url and the name of the model")
    if status in PASSING or status >= 500:
        return BusyError(said, retry_after=retry_after, is_overload=status in OVERLOAD)
    return ModelError(said)


def may_be_billed(status: int) -> bool:
    """Whether a call that ended so may still cost something: a gateway can give up on a reply that is being written."""
    return status >= 500 and status not in OVERLOAD


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stop strings; servers differ in which they take and whether they show them."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _message_text(message: Mapping[str, Any]) -> Any:
    calls = message.get("tool_calls")
    content = message.get("content")
    if calls:
        called = calls[0]["function"]
        thought = f"Thought: {content}\n" if content else ""
        return f"{thought}Action: {called['name']}[{_argument(called.get('arguments') or '')}]"
    return content if content is not None or not message.get("refusal") else ""


def _argument(arguments: str) -> str:
    """The one text among the arguments of a call, else all of them as JSON."""
    try:
        values = json.loads(arguments or "{}")
    except ValueError:
        return arguments
    texts = list(values.values()) if isinstance(values, dict) else []
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else arguments


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _server_error(body: bytes) -> tuple[str, str]:
    """Code and message of an error body, of whatever form it is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "", _shown(body)
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", _shown(str(error).encode())
    message = error.get("message") or error.get("detail") or json.dumps(error)
    return str(error.get("code") or error.get("type") or ""), _shown(str(message).encode())


def _shown(body: bytes) -> str:
    return " ".join(body[: 4 * SHOWN_CHARACTERS].decode(errors="replace").split())[:SHOWN_CHARACTERS]
