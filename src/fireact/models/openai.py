"""Models behind the OpenAI protocol: OpenAI, Azure, vLLM, SGLang, Ollama, `transformers serve`, and compatible servers.

The life of a request:

1. The cache may know the reply; then nothing is sent.
2. The pace lets the call start, and the budget sets aside the most that it can cost.
3. What can pass (time-outs, lost connections, overload, damaged replies) is tried again, a few times, later each time,
   and not before a time that the server names. What cannot (a wrong key, a refusal) is told at once.
4. The reply goes into the cache.

The key of the API comes from the environment alone and goes into one header; no record, log or message holds it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import Field, field_validator

from fireact.cache import key_of
from fireact.config import Config, Free
from fireact.dialects import Author
from fireact.errors import AccessError, BusyError, ConfigError, ModelError, RefusalError
from fireact.models import Means, Reply, Request
from fireact.models.pace import Pace
from fireact.models.protocol import MOST_STOPS, OK, Answer, cut, failure, may_be_billed, read_answer
from fireact.money import Price, price_table
from fireact.runs import PRODUCER

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

OFFICIAL = "https://api.openai.com/v1"
OFFICIAL_KEY = "OPENAI_API_KEY"
CHAT, PLAIN = "/chat/completions", "/completions"
MOST_BYTES = 32 * 2**20
"""Of one reply."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between tries; each pause is twice the one before, and up to half of it is cut off by chance."""
LONGEST_WAIT = 600.0
"""Seconds that a server can ask for."""
TEMPLATE_TOKENS = 64
"""That a chat template may add to a request; beyond them no tokenizer makes more tokens than there are bytes."""
CHARACTERS_PER_TOKEN = 4
"""By which tokens are estimated where a server does not count them."""
FEW_RETRIES = 2
"""For a server from which nothing has come yet."""
T = TypeVar("T")


class OpenAIConfig(Config):
    """A model behind the OpenAI protocol."""

    kind: Literal["openai"] = "openai"
    model: str = Field(min_length=1)
    """Its name at the server; for Azure that of the deployment."""
    base_url: str = OFFICIAL
    """Up to and with `/v1`."""
    key: str | None = None
    """The environment variable with the key; None is OPENAI_API_KEY at OpenAI, and no key at other addresses."""
    api: Literal["chat", "completions"] = "chat"
    """Whether the prompt is sent as one message of a chat or as plain text to continue."""
    api_version: str | None = None
    """Azure's, which also changes the header of the key."""
    start: str = ""
    """Of a plain prompt: the name of the start token, for servers that do not add it."""
    end_of_turn: str = ""
    """Of a plain prompt: the name of the token with which a tuned model ends its turns."""
    leave_out: tuple[Literal["temperature", "stop", "seed"], ...] = ()
    """Parameters that the server refuses."""
    limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the length of a reply."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of every request, such as `reasoning_effort`."""
    price: Price | None = None
    """None takes the list price of OpenAI's models, and knows none at other addresses."""
    cache: Free[bool] = True
    """Whether replies are taken from the shared cache and put there."""
    concurrency: Free[int] = Field(64, ge=1)
    """Calls under way at once."""
    requests_per_minute: Free[float | None] = Field(None, gt=0)
    tokens_per_minute: Free[float | None] = Field(None, gt=0)
    timeout: Free[float] = Field(120.0, gt=0)
    """Seconds for one try."""
    max_retries: Free[int] = Field(6, ge=0)

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected an address such as {OFFICIAL}, got {value!r}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("expected an address without user, password and query; a key goes into the environment")
        return value.rstrip("/")

    def open(self, means: Means) -> OpenAIModel:
        """
        Raises:
            ConfigError: the key is not set.
        """
        return OpenAIModel(self, means)

    def find_price(self) -> Price | None:
        """What its tokens cost; None where it is not known."""
        return self.price or (price_table().find(self.model) if self.base_url == OFFICIAL else None)


class OpenAIModel:
    """A model behind the OpenAI protocol; see OpenAIConfig."""

    def __init__(self, config: OpenAIConfig, means: Means) -> None:
        self.config = config
        self.name = config.model
        self.price = config.find_price()
        self.budget = means.budget
        if self.budget.dollars is not None and self.price is None:
            raise ConfigError(
                f"budget_usd: the price of {config.model!r} at {config.base_url} is not known; give it as 'price', "
                "such as {input: 2.5, output: 10}, in dollars for a million tokens"
            )
        self.cache = means.cache if config.cache else None
        self.pace = Pace(
            concurrency=config.concurrency,
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
        )
        self._secret = _read_secret(config)
        self._has_answered = False
        self._under_way: dict[bytes, asyncio.Future[None]] = {}
        self._session: ClientSession | None = None
        version = f"?api-version={config.api_version}" if config.api_version else ""
        self._url = f"{config.base_url}{CHAT if config.api == 'chat' else PLAIN}{version}"
        self._headers = _headers(config, self._secret)
        self._proxy = _proxy(self._url)

    async def reply(self, request: Request) -> Reply:
        """The reply, from the cache or the server.

        Raises:
            AccessError: no call can succeed.
            BudgetError: the budget is used up.
            RefusalError: the model, or a filter, refuses the request.
            ModelError: the server did not reply within the tries, or cannot take the request.
        """
        answer, is_cached = await self._answer(request)
        if answer.refusal:
            raise RefusalError(f"{self.name} refuses: {answer.refusal}")
        text = cut(answer.text, request.stop)
        return Reply(
            text=text,
            tokens_in=_estimate(request.text) if answer.tokens_in is None else answer.tokens_in,
            tokens_out=_estimate(text) if answer.tokens_out is None else answer.tokens_out,
            seconds=answer.seconds,
            dollars=self._cost(answer, else_=None),
            is_cached=is_cached,
        )

    async def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _answer(self, request: Request) -> tuple[Answer, bool]:
        """The answer, and whether it was paid for before."""
        body = self._body(request)
        if self.cache is None:
            return await self._ask(request, body), False
        key = key_of(self._url, body, self._sample(request))
        while key in self._under_way:
            # Whatever becomes of it, the cache knows.
            await asyncio.wait([self._under_way[key]])
        known = self.cache.get(key)
        if known is not None:
            return Answer(**known), True
        ended = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._ask(request, body)
            self.cache.put(key, answer.as_values())
        finally:
            del self._under_way[key]
            ended.set_result(None)
        return answer, False

    def _sample(self, request: Request) -> int:
        """Which of several replies to the same prompt is wanted; greedy ones are all the same."""
        is_sampled = request.temperature > 0 or "temperature" in self.config.leave_out
        return request.seed if is_sampled else 0

    def _body(self, request: Request) -> dict[str, Any]:
        """What is sent: all that the reply depends on."""
        config = self.config
        if config.api == "chat":
            prompt: dict[str, Any] = {"messages": [{"role": "user", "content": request.text}]}
        else:
            ends = {Author.MODEL: config.end_of_turn, Author.WORLD: ""}
            pieces = (f"{piece.text}{ends[piece.author]}" for piece in request.pieces)
            prompt = {"prompt": f"{config.start}{''.join(pieces)}"}
        settings = {
            "temperature": request.temperature,
            "stop": list(request.stop[:MOST_STOPS]),
            # Some servers hold it in 32 bits with a sign.
            "seed": self._sample(request) & 0x7FFFFFFF,
        }
        wanted = {name: value for name, value in settings.items() if name not in config.leave_out and value != []}
        return {"model": config.model, **prompt, config.limit_key: request.max_tokens, **wanted, **config.extra}

    async def _ask(self, request: Request, body: dict[str, Any]) -> Answer:
        """Try until there is an answer."""
        content = json.dumps(body, ensure_ascii=False).encode()
        rng = random.Random(request.seed)
        tokens = len(content) // CHARACTERS_PER_TOKEN + request.max_tokens
        most = 0.0
        if self.price is not None:
            most = self.price.cost(tokens_in=len(content) + TEMPLATE_TOKENS, tokens_out=request.max_tokens)
        num_unreached = 0
        for number in range(self.config.max_retries + 1):
            try:
                return await self._try(content, most, tokens)
            except BusyError as error:
                if number == self.config.max_retries:
                    raise
                num_unreached += not error.has_reached
                if num_unreached > FEW_RETRIES and not self._has_answered:
                    raise AccessError(f"{error}; nothing has come from {self.config.base_url} yet") from error
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number) * rng.uniform(0.5, 1.0)
                await asyncio.sleep(max(pause, error.retry_after))
        raise AssertionError("the last try returns or raises")

    async def _try(self, content: bytes, most: float, tokens: int) -> Answer:
        """One call, paced and paid for."""
        started = await self.pace.enter(tokens)
        try:
            await self.budget.reserve(most)
            cost = most
            try:
                begun = time.perf_counter()
                status, body, retry_after = await self._post(content)
                if status != OK:
                    cost = most if may_be_billed(status) else 0.0
                    raise failure(status, body, retry_after=retry_after)
                answer = replace(read_answer(body), seconds=time.perf_counter() - begun)
                cost = self._cost(answer, else_=most)
            finally:
                self.budget.settle(most, cost)
        except ModelError as error:
            self.pace.failed()
            if isinstance(error, BusyError) and error.is_overload:
                self.pace.busy(started, retry_after=error.retry_after)
            raise
        finally:
            self.pace.leave()
        self.pace.succeeded()
        self._has_answered = True
        return answer

    async def _post(self, content: bytes) -> tuple[int, bytes, float]:
        """Status, body and the seconds to wait that the server names.

        Raises:
            BusyError: nothing came back, or not all of it.
        """
        import aiohttp

        session = self._session or self._open_session()
        try:
            async with session.post(
                self._url, data=content, headers=self._headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                body = await _read_body(response)
                retry_after = _seconds(response.headers.get("Retry-After"))
                return response.status, self._without_secret(body), retry_after
        except TimeoutError as error:
            raise BusyError(
                f"no reply from {self.config.base_url} within {self.config.timeout:g} s", has_reached=False
            ) from error
        except aiohttp.ClientPayloadError as error:
            raise BusyError(f"the reply from {self.config.base_url} broke off", has_reached=False) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = self._without_secret(str(error).encode()).decode() or type(error).__name__
            raise BusyError(f"{self.config.base_url} cannot be reached: {reason}", has_reached=False) from error

    def _open_session(self) -> ClientSession:
        import aiohttp

        # The pace says how many connections there are; a limit here would let calls time out while they wait.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self.config.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session

    def _without_secret(self, text: bytes) -> bytes:
        """A text from outside; servers have been seen to repeat the key in their errors."""
        return text.replace(self._secret.encode(), b"***") if self._secret else text

    def _cost(self, answer: Answer, *, else_: T) -> float | T:
        """Dollars for an answer; `else_` where price or tokens are not known."""
        if self.price is None or answer.tokens_in is None or answer.tokens_out is None:
            return else_
        return self.price.cost(
            tokens_in=answer.tokens_in, tokens_out=answer.tokens_out, cached_in=min(answer.cached_in, answer.tokens_in)
        )


async def _read_body(response: ClientResponse) -> bytes:
    """All of the body.

    Raises:
        BusyError: it is longer than any reply.
    """
    if response.content_length is not None and response.content_length <= MOST_BYTES:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise BusyError(f"the reply has more than {MOST_BYTES // 2**20} MiB", has_reached=False)
    return b"".join(parts)


def _read_secret(config: OpenAIConfig) -> str:
    """The key; empty for servers that take none.

    Raises:
        ConfigError: it is not set, or cannot be a key.
    """
    variable = config.key or (OFFICIAL_KEY if config.base_url == OFFICIAL else "")
    if not variable:
        return ""
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise ConfigError(f"model {config.model}: the environment variable {variable} is not set; export it")
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ConfigError(f"model {config.model}: what {variable} holds cannot be a key; copy it once more")
    return secret


def _headers(config: OpenAIConfig, secret: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": PRODUCER.replace(" ", "/")}
    if secret and config.api_version:
        headers["api-key"] = secret
    elif secret:
        headers["Authorization"] = f"Bearer {secret}"
    return headers


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _seconds(header: str | None) -> float:
    """What `Retry-After` says, in seconds from now; it may be a date. 0 where it says nothing that can be read."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(0.0, seconds), LONGEST_WAIT) if seconds == seconds else 0.0


def _estimate(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
