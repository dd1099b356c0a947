"""models/openai.py: a model behind the OpenAI protocol, against a server that misbehaves on loopback."""

import asyncio
import socket
import time
from dataclasses import replace

import pytest

from fake_server import FakeServer
from fireact.cache import Cache
from fireact.config import validate
from fireact.dialects import Author, Piece
from fireact.errors import AccessError, BudgetError, BusyError, ConfigError, ModelError, RefusalError
from fireact.models import Means, Reply, Request, open_model
from fireact.models import openai as openai_module
from fireact.models.openai import OpenAIConfig
from fireact.money import Budget, Price

REQUEST = Request((Piece("Question: Who is Ann?\n"),), stop=("\nObservation:",), max_tokens=50, seed=5)
SEARCH = "Thought: Step 0.\nAction: search[Who is Ann? 0]"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(openai_module, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(openai_module, "LONGEST_PAUSE", 0.02)


def config(url: str, **values) -> OpenAIConfig:
    return validate({"kind": "openai", "model": "m", "base_url": url} | values, OpenAIConfig, where="recipe")


def ask(*requests: Request, means: Means | None = None, behaviour: dict | None = None, **values):
    """The replies or errors of the requests, one after the other, and the server's memory."""

    async def play():
        async with FakeServer(**(behaviour or {})) as server:
            model = open_model(config(server.url, **values), means)
            found: list[Reply | Exception] = []
            try:
                for request in requests:
                    try:
                        found.append(await model.reply(request))
                    except Exception as error:
                        found.append(error)
            finally:
                await model.close()
            return found, server.behaviour

    return asyncio.run(play())


def refusal(**values) -> Exception:
    (found,), _ = ask(REQUEST, **values)
    assert isinstance(found, Exception)
    return found


def test_a_reply_has_text_counts_and_price():
    (reply,), server = ask(REQUEST, price={"input": 1.0, "output": 4.0})
    assert (reply.text, reply.tokens_in, reply.tokens_out) == (SEARCH, 5, 11)
    assert reply.dollars == pytest.approx((5 * 1.0 + 11 * 4.0) / 1e6)
    assert not reply.is_cached
    assert reply.seconds > 0
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Question: Who is Ann?\n"}],
            "max_tokens": 50,
            "temperature": 0.0,
            "stop": ["\nObservation:"],
            "seed": 0,
        }
    ]


def test_without_a_price_the_dollars_are_not_known():
    (reply,), _ = ask(REQUEST)
    assert reply.dollars is None


def test_a_plain_prompt_names_the_tokens_that_the_server_does_not_add():
    pieces = (Piece("Question: Who is Ann?\n"), Piece("Thought: hm", Author.MODEL), Piece("\n"))
    (reply,), server = ask(Request(pieces), api="completions", start="<s>", end_of_turn="</s>")
    assert server.bodies[0]["prompt"] == "<s>Question: Who is Ann?\nThought: hm</s>\n"
    assert reply.text == SEARCH


def test_parameters_can_be_left_out_renamed_and_added():
    _, server = ask(
        REQUEST,
        leave_out=("temperature", "stop", "seed"),
        limit_key="max_completion_tokens",
        extra={"reasoning_effort": "low"},
    )
    assert server.bodies[0].keys() == {"model", "messages", "max_completion_tokens", "reasoning_effort"}


def test_a_stop_string_that_the_server_does_not_honour_ends_the_reply_all_the_same():
    (reply,), _ = ask(Request(REQUEST.pieces, stop=("\nAction:",)))
    assert reply.text == "Thought: Step 0."


def test_the_key_comes_from_the_environment_and_is_in_no_message(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-canary")
    (reply,), _ = ask(REQUEST, key="MY_KEY", behaviour={"key": "sk-canary"})
    assert reply.text == SEARCH
    error = refusal(key="MY_KEY", behaviour={"key": "sk-other"})
    assert isinstance(error, AccessError)
    assert str(error) == (
        "status 401: Incorrect API key provided: ***; check the key, base_url and the name of the model"
    )


def test_azure_takes_the_key_in_a_header_of_its_own(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-canary")
    (reply,), _ = ask(REQUEST, key="MY_KEY", api_version="2024-10-21", behaviour={"key": "sk-canary"})
    assert reply.text == SEARCH


def test_the_key_of_openai_goes_nowhere_else(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    assert isinstance(refusal(behaviour={"key": "sk-canary"}), AccessError)


def test_a_key_that_is_not_set_is_asked_for(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        ConfigError, match="model gpt-4o: the environment variable OPENAI_API_KEY is not set; export it"
    ):
        open_model(OpenAIConfig(model="gpt-4o"))


@pytest.mark.parametrize("value", ["two words", "sk-\u00e9", "a\nb"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(ConfigError, match="what OPENAI_API_KEY holds cannot be a key") as refused:
        open_model(OpenAIConfig(model="gpt-4o"))
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a/v1", "http:///v1", "http://user:sk@a/v1", "http://a/v1?key=sk"]
)
def test_an_address_that_is_none_or_holds_a_key_is_refused(url):
    with pytest.raises(ConfigError, match="base_url: expected an address"):
        config(url)


def test_what_can_pass_is_tried_again():
    found, server = ask(
        *[REQUEST] * 3, behaviour={"faults": {"500": 0.3, "429": 0.3, "malformed": 0.2}, "seed": 1}, max_retries=50
    )
    assert [reply.text for reply in found] == [SEARCH] * 3
    assert server.calls > 3


def test_tries_are_bounded_and_the_last_error_is_told():
    (error,), server = ask(REQUEST, behaviour={"status": 500, "error": {"error": {"message": "oh no"}}}, max_retries=3)
    assert (type(error), str(error)) == (BusyError, "status 500: oh no")
    assert server.calls == 4


@pytest.mark.parametrize(("status", "kind"), [(401, AccessError), (404, AccessError), (400, ModelError)])
def test_what_cannot_pass_is_tried_once(status, kind):
    (error,), server = ask(REQUEST, behaviour={"status": status, "error": {"error": {"message": "no"}}})
    assert type(error) is kind
    assert server.calls == 1


def test_a_server_that_names_a_time_is_not_asked_before():
    faults = {"429 with Retry-After": 0.6}
    found, server = ask(*[REQUEST] * 3, behaviour={"faults": faults, "seed": 2}, max_retries=50)
    assert [reply.text for reply in found] == [SEARCH] * 3
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert sum(gap >= 0.05 for gap in gaps) == server.calls - 3


def test_a_reply_that_does_not_come_in_time_is_given_up():
    error = refusal(behaviour={"faults": {"hang": 1.0}}, timeout=0.05, max_retries=1)
    assert isinstance(error, BusyError)
    assert "no reply from http://127.0.0.1:" in str(error)
    assert "within 0.05 s" in str(error)


@pytest.mark.parametrize("fault", ["drop", "truncated", "malformed"])
def test_a_reply_that_breaks_off_is_given_up(fault):
    assert isinstance(refusal(behaviour={"faults": {fault: 1.0}}, max_retries=1), BusyError)


def test_a_server_from_which_nothing_ever_came_ends_the_run_after_a_few_tries():
    error = refusal(behaviour={"raw": b"<html>a router</html>"})
    assert isinstance(error, AccessError)
    assert "the reply is damaged: '<html>a router</html>'; nothing has come from http://127.0.0.1:" in str(error)


def test_an_address_where_nobody_listens_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async def play():
        model = open_model(config(url))
        try:
            await model.reply(REQUEST)
        finally:
            await model.close()

    begun = time.monotonic()
    with pytest.raises(AccessError, match=f"{url} cannot be reached: .*; nothing has come from {url} yet"):
        asyncio.run(play())
    assert time.monotonic() - begun < 5


def test_a_refusal_is_told_as_such_and_not_paid_for_twice(tmp_path):
    raw = b'{"choices": [{"message": {"content": null, "refusal": "I cannot help."}}]}'
    with Cache(tmp_path / "c.sqlite") as cache:
        found, server = ask(REQUEST, REQUEST, means=Means(cache=cache), behaviour={"raw": raw})
    assert [(type(error), str(error)) for error in found] == [(RefusalError, "m refuses: I cannot help.")] * 2
    assert server.calls == 1


def test_what_was_answered_comes_from_the_cache_with_its_price(tmp_path):
    price = {"input": 1.0, "output": 4.0}
    budget = Budget(1.0)
    with Cache(tmp_path / "c.sqlite") as cache:
        found, server = ask(REQUEST, REQUEST, means=Means(budget, cache), price=price)
    first, second = found
    assert (second.text, second.tokens_in, second.dollars) == (first.text, first.tokens_in, first.dollars)
    assert (first.is_cached, second.is_cached, server.calls) == (False, True, 1)
    assert budget.spent == pytest.approx(first.dollars)


SAMPLES = [Request(REQUEST.pieces, temperature=0.7, seed=seed) for seed in (5, 6, 5)]


def test_another_sample_is_asked_for_anew(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        _, server = ask(*SAMPLES, means=Means(cache=cache), leave_out=("seed",))
    assert server.calls == 2


def test_greedy_replies_are_the_same_whatever_the_seed_but_not_where_the_server_samples_anyway(tmp_path):
    greedy = [replace(sample, temperature=0.0) for sample in SAMPLES]
    with Cache(tmp_path / "a.sqlite") as cache:
        _, server = ask(*greedy, means=Means(cache=cache))
    assert [body["seed"] for body in server.bodies] == [0]
    with Cache(tmp_path / "b.sqlite") as cache:
        _, server = ask(*greedy, means=Means(cache=cache), leave_out=("temperature",))
    assert [body["seed"] for body in server.bodies] == [5, 6]


@pytest.mark.parametrize("fault", ["", "500"])
def test_the_same_call_at_the_same_moment_is_paid_for_once(tmp_path, fault):
    async def play(cache):
        async with FakeServer(latency=0.01, faults={fault: 0.5} if fault else {}, seed=1) as server:
            model = open_model(config(server.url), Means(cache=cache))
            found = await asyncio.gather(*(model.reply(REQUEST) for _ in range(5)))
            await model.close()
            return found, server.behaviour

    with Cache(tmp_path / "c.sqlite") as cache:
        found, server = asyncio.run(play(cache))
    assert [reply.text for reply in found] == [SEARCH] * 5
    assert sorted(reply.is_cached for reply in found) == [False, True, True, True, True]
    assert len(server.bodies) == server.calls
    assert sum(server.completed.values()) <= 1


def test_a_call_that_others_wait_for_may_be_given_up(tmp_path):
    async def play(cache):
        async with FakeServer(latency=0.02) as server:
            model = open_model(config(server.url), Means(cache=cache))
            first, second = (asyncio.create_task(model.reply(REQUEST)) for _ in range(2))
            await asyncio.sleep(0.005)
            first.cancel()
            reply = await second
            await model.close()
            return reply, server.behaviour.calls

    with Cache(tmp_path / "c.sqlite") as cache:
        reply, calls = asyncio.run(play(cache))
    assert (reply.text, reply.is_cached, calls) == (SEARCH, False, 2)


def test_without_the_cache_every_call_is_made(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        _, server = ask(REQUEST, REQUEST, means=Means(cache=cache), cache=False)
    assert server.calls == 2


def test_a_budget_needs_a_price():
    with pytest.raises(ConfigError, match="the price of 'm' at http://a/v1 is not known; give it as 'price'"):
        open_model(config("http://a/v1"), Means(Budget(1.0)))


def test_list_prices_are_those_of_openai_alone():
    assert OpenAIConfig(model="gpt-4o-mini").find_price() == Price(input=0.15, output=0.6, cached_input=0.075)
    assert config("http://a/v1", model="gpt-4o-mini").find_price() is None


@pytest.mark.parametrize("seed", range(20))
def test_the_servers_bill_never_passes_the_budget(seed):
    cap = 0.002

    async def play():
        faults = {"drop": 0.05, "truncated": 0.05, "malformed": 0.05, "500": 0.05}
        async with FakeServer(faults=faults, seed=seed, latency=0.002) as server:
            price = {"input": 1.0, "output": 4.0}
            model = open_model(config(server.url, price=price, concurrency=256), Means(Budget(cap)))
            requests = (Request((Piece(f"Question: {number} of {seed}?\n"),), max_tokens=20) for number in range(600))
            found = await asyncio.gather(*map(model.reply, requests), return_exceptions=True)
            await model.close()
            return [one for one in found if isinstance(one, BudgetError)], server.behaviour.dollars

    refused, dollars = asyncio.run(play())
    assert refused
    assert 0.2 * cap < dollars <= cap
