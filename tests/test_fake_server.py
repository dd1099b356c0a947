"""fake_server.py: its replies have the form of the request."""

import json

import pytest

from fake_server import call_tool, choose

QUESTION = "Question: What is number 000007?"


def tool(name: str, argument: str) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": {"properties": {argument: {}}}}}


def conversation(turns: int, *tools: dict) -> dict:
    turn = [{"role": "assistant", "content": None}, {"role": "tool", "content": "Nothing."}]
    content = [{"type": "text", "text": QUESTION}]
    return {"messages": [{"role": "user", "content": content}, *turn * turns], "tools": list(tools)}


def called(message: dict) -> tuple[str, dict]:
    function = message["tool_calls"][0]["function"]
    return function["name"], json.loads(function["arguments"])


def test_a_search_is_called_where_tools_are_offered():
    message = call_tool(conversation(2, tool("search", "query")), searches=5)
    assert called(message) == ("search", {"query": "What is number 00000 2"})


def test_after_the_searches_a_plain_message_finishes():
    message = call_tool(conversation(5, tool("search", "query")), searches=5)
    assert message == {"role": "assistant", "content": "00007"}


def test_a_tool_that_finishes_is_called_where_one_is_offered():
    message = call_tool(conversation(5, tool("submit", "answer"), tool("search", "query")), searches=5)
    assert called(message) == ("submit", {"answer": "00007"})


@pytest.mark.parametrize(
    ("prompt", "begin"),
    [
        (f"[[ ## next_tool_name ## ]] [[ ## completed ## ]]\n{QUESTION}\n", "[[ ## next_thought ## ]]\nStep 0."),
        (f"[[ ## completed ## ]]\n{QUESTION}\n[[ ## observation_0 ## ]]", "[[ ## reasoning ## ]]\nDone."),
        (f"{QUESTION}\n", "Thought: Step 0."),
    ],
)
def test_a_prompt_with_fields_gets_fields_back(prompt, begin):
    text, choice = choose({"messages": [{"role": "user", "content": prompt}]}, prompt, searches=5)
    assert text.startswith(begin)
    assert choice["message"]["content"] == text
