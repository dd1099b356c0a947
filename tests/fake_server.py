"""A server that speaks the OpenAI protocol on loopback and can be told to misbehave. For tests and `bench/`.

    python tests/fake_server.py --latency 0.05 --faults --log calls.jsonl

prints its address, and serves until its input ends. What it replies depends on the prompt alone: so many searches, then
a finish. Whether a call goes wrong depends on the seed, the prompt and how often it came.

A reply has the form of the request: a native call of a tool where tools are offered, fields like `[[ ## answer ## ]]`
where the prompt has those (DSPy's), and the text of ReAct elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate

FAULTS = {
    "429": 0.05,
    "429 with Retry-After": 0.05,
    "500": 0.05,
    "hang": 0.05,
    "drop": 0.02,
    "malformed": 0.02,
    "truncated": 0.01,
}
"""Kinds of faults with their probabilities for one call."""
SECONDS_TO_BE_COMPLETE = 0.02
"""That a connection stays open after a reply until the client must have it."""
PRICE_IN, PRICE_OUT = 1e-6, 4e-6
"""Dollars for a token."""
FIELD = "[[ ## {} ## ]]"
"""How DSPy marks the fields of a prompt and of a reply."""


@dataclass
class Behaviour:
    """How the server behaves, and what it has seen."""

    latency: float = 0.0
    """Seconds before each reply."""
    searches: int = 5
    """Before the finish."""
    faults: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    key: str = ""
    """That calls must bring; any where empty. It is repeated in the errors of those that bring another."""
    echoes: bool = False
    """Whether replies repeat the key too."""
    status: int = 200
    """Of every reply; anything but 200 with an error in the body."""
    error: dict = field(default_factory=dict)
    raw: bytes | None = None
    """The body of every reply, in place of a completion."""
    log: str = ""
    """A file that gets one line for each call that the client has had the reply of."""
    tries: Counter = field(default_factory=Counter)
    """By prompt."""
    calls: int = 0
    dollars: float = 0.0
    """For all that was written, also where the reply was lost."""
    busy: int = 0
    most_busy: int = 0
    """Calls that were under way at once."""
    times: list = field(default_factory=list)
    """When calls came."""
    completed: Counter = field(default_factory=Counter)
    """By prompt."""
    keeps_bodies: bool = True
    bodies: list = field(default_factory=list)
    open: set = field(default_factory=set)
    """Connections."""


def write(prompt: str, searches: int) -> str:
    """The reply to a prompt: a search for something that depends on it, or the finish."""
    question, _, steps = prompt.rpartition("Question: ")[2].partition("\n")
    done = len(re.findall(r"^Observation:", steps, re.MULTILINE))
    if done < searches:
        return f"Thought: Step {done}.\nAction: search[{question[:20]} {done}]"
    return f"Thought: Done.\nAction: finish[{question[-6:-1]}]"


def write_fields(prompt: str, searches: int) -> str:
    """The same in the fields of DSPy's ReAct, which asks once more after the finish: for an answer."""
    question = asked(prompt)
    done = prompt.count("[[ ## observation_")
    if FIELD.format("next_tool_name") not in prompt:
        fields = {"reasoning": "Done.", "answer": question[-6:-1]}
    elif done < searches:
        query = json.dumps({"query": f"{question[:20]} {done}"})
        fields = {"next_thought": f"Step {done}.", "next_tool_name": "search", "next_tool_args": query}
    else:
        fields = {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": "{}"}
    parts = (f"{FIELD.format(name)}\n{value}" for name, value in (fields | {"completed": ""}).items())
    return "\n\n".join(parts)


def call_tool(body: dict, searches: int) -> dict:
    """The message for a request with tools: a call of `search`, in the end one of the tool that finishes, if any."""
    question = asked(prompt_of(body))
    done = sum(message["role"] == "assistant" for message in body["messages"])
    tools = {tool["function"]["name"]: tool["function"] for tool in body["tools"]}
    search = tools.pop("search")
    if done < searches:
        chosen, argument, thought = search, f"{question[:20]} {done}", f"Step {done}."
    else:
        chosen, argument, thought = next(iter(tools.values()), None), question[-6:-1], "Done."
    if chosen is None:
        return {"role": "assistant", "content": argument}
    arguments = json.dumps({next(iter(chosen["parameters"]["properties"])): argument})
    call = {"id": f"call_{done}", "type": "function", "function": {"name": chosen["name"], "arguments": arguments}}
    return {"role": "assistant", "content": thought, "tool_calls": [call]}


def asked(prompt: str) -> str:
    return prompt.rpartition("Question: ")[2].partition("\n")[0]


def prompt_of(body: dict) -> str:
    return body["prompt"] if "prompt" in body else "\n".join(text_of(message) for message in body["messages"])


def text_of(message: dict) -> str:
    content = message["content"] or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def choose(body: dict, prompt: str, searches: int) -> tuple[str, dict]:
    """What is written, and the choice that holds it."""
    if "tools" in body:
        message = call_tool(body, searches)
        reason = "tool_calls" if "tool_calls" in message else "stop"
        return json.dumps(message), {"index": 0, "finish_reason": reason, "message": message}
    text = (write_fields if FIELD.format("completed") in prompt else write)(prompt, searches)
    form = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
    return text, {"index": 0, "finish_reason": "stop"} | form


class Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.buffer = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.behaviour.open.add(transport)

    def connection_lost(self, error) -> None:
        self.behaviour.open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            length = int(re.search(r"content-length: *(\d+)", head, re.IGNORECASE)[1])
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self.serve(head, body)

    def serve(self, head: str, body: bytes) -> None:
        its = self.behaviour
        its.calls += 1
        its.times.append(time.monotonic())
        its.busy += 1
        its.most_busy = max(its.most_busy, its.busy)
        if its.latency:
            asyncio.get_running_loop().call_later(its.latency, self.answer, head, body)
        else:
            self.answer(head, body)

    def answer(self, head: str, content: bytes) -> None:
        its = self.behaviour
        its.busy -= 1
        if self.transport.is_closing():
            return None
        given = re.search(r"(?:authorization: bearer|api-key:) *(\S+)", head, re.IGNORECASE)
        if its.key and (given is None or given[1] != its.key):
            return self.send(
                401,
                {"error": {"code": "invalid_api_key", "message": f"Incorrect API key provided: {given and given[1]}"}},
            )
        if its.status != 200:
            return self.send(its.status, its.error)
        if its.raw is not None:
            return self.send_raw(200, its.raw)
        body = json.loads(content)
        if its.keeps_bodies:
            its.bodies.append(body)
        prompt = prompt_of(body)
        name = hashlib.sha256(content).hexdigest()
        number = its.tries[name]
        its.tries[name] += 1
        fault = ""
        if its.faults:
            rng = random.Random(f"{its.seed}/{name}/{number}")
            fault = rng.choices([*its.faults, ""], [*its.faults.values(), 1 - sum(its.faults.values())])[0]
        match fault:
            case "429":
                return self.send(429, {"error": {"message": "slow down"}})
            case "429 with Retry-After":
                after = "0.05" if rng.random() < 0.98 else formatdate(time.time() + 1, usegmt=True)
                return self.send(429, {"error": {"message": "slow down"}}, f"Retry-After: {after}\r\n")
            case "500":
                return self.send(500, {"error": {"message": "oh no"}})
            case "hang":
                return None
        text, choice = choose(body, prompt, its.searches)
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        usage["total_tokens"] = sum(usage.values())
        its.dollars += usage["prompt_tokens"] * PRICE_IN + usage["completion_tokens"] * PRICE_OUT
        reply = {
            "id": name[:12],
            "object": "text_completion" if "prompt" in body else "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }
        raw = json.dumps(reply).encode()
        if its.echoes and given is not None:
            raw = raw.replace(b"Thought: ", f"Thought: {given[1]} ".encode())
        match fault:
            case "drop":
                self.transport.abort()
            case "malformed":
                self.send_raw(200, raw[: len(raw) // 2])
            case "truncated":
                self.send_raw(200, raw[: len(raw) // 2], length=len(raw))
                self.transport.close()
            case _:
                self.send_raw(200, raw)
                asyncio.get_running_loop().call_later(SECONDS_TO_BE_COMPLETE, self.complete, name)
        return None

    def complete(self, name: str) -> None:
        if self.transport.is_closing():
            return
        self.behaviour.completed[name] += 1
        if self.behaviour.log:
            with open(self.behaviour.log, "a") as file:  # noqa: PTH123
                file.write(json.dumps(name) + "\n")

    def send(self, status: int, value: dict, headers: str = "") -> None:
        self.send_raw(status, json.dumps(value).encode(), headers=headers)

    def send_raw(self, status: int, body: bytes, *, headers: str = "", length: int | None = None) -> None:
        length = len(body) if length is None else length
        head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
        self.transport.write(head.encode() + body)


class FakeServer:
    """The server in this process: `async with FakeServer(...) as server`, then `server.url`."""

    def __init__(self, **behaviour) -> None:
        self.behaviour = Behaviour(**behaviour)

    async def __aenter__(self) -> FakeServer:
        loop = asyncio.get_running_loop()
        # A thousand clients may come at once; those beyond the backlog would be kept waiting for a second.
        self.server = await loop.create_server(lambda: Connection(self.behaviour), "127.0.0.1", 0, backlog=4096)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_) -> None:
        self.server.close()
        for transport in list(self.behaviour.open):
            transport.abort()
        await self.server.wait_closed()


async def serve(given: argparse.Namespace) -> None:
    faults = FAULTS if given.faults else {}
    async with FakeServer(
        key=given.key,
        echoes=given.echoes,
        latency=given.latency,
        searches=given.searches,
        faults=faults,
        seed=given.seed,
        log=given.log,
        status=given.status,
        error={"error": {"message": "no such model"}},
        raw=given.raw.encode() if given.raw else None,
        keeps_bodies=False,
    ) as server:
        print(server.url, flush=True)
        begun = time.process_time()
        await asyncio.to_thread(sys.stdin.read)
        its = server.behaviour
        cpu = time.process_time() - begun
        told = {"calls": its.calls, "most_busy": its.most_busy, "dollars": its.dollars, "cpu": cpu}
        print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", default="")
    parser.add_argument("--echoes", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--log", default="")
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--raw", default="")
    asyncio.run(serve(parser.parse_args()))
