"""models/scripted.py: known replies, told failures, counted words."""

import asyncio

import pytest

from fireact.dialects import Piece
from fireact.errors import ModelError
from fireact.models import Request, ScriptedConfig, open_model
from fireact.models.scripted import ScriptedModel


def ask(model, text):
    return asyncio.run(model.reply(Request((Piece(text),))))


def test_a_function_answers_and_words_are_counted():
    reply = ask(ScriptedModel(lambda request: request.text.upper()), "two words")
    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("TWO WORDS", 2, 2)


def test_replies_go_turn_by_turn_and_the_last_is_repeated():
    model = open_model(ScriptedConfig(replies={"who?": ("first", "second")}))
    start, turn = "Question: who?\n", "x\nObservation: y\n"
    prompts = (start, start + turn, start + turn + turn)
    assert [ask(model, prompt).text for prompt in prompts] == ["first", "second", "second"]


def test_only_the_last_question_of_a_prompt_counts():
    model = open_model(ScriptedConfig(replies={"a?": ("A",), "b?": ("B",)}))
    assert ask(model, "Question: a?\nAnswer: A\n\nQuestion: b?\n").text == "B"


def test_a_call_can_be_told_to_fail():
    model = open_model(ScriptedConfig(replies={"a?": ("A",)}, fails_at=(0,)))
    with pytest.raises(ModelError, match="call 0 was told to fail"):
        ask(model, "Question: a?")
    assert ask(model, "Question: a?").text == "A"


def test_an_unknown_question_is_a_model_error():
    with pytest.raises(ModelError, match="no reply for"):
        ask(open_model(ScriptedConfig(replies={"a?": ("A",)})), "Question: b?")
