"""models/local.py: batches write what each request would be written alone; stops are exact; refusals take one line."""

import asyncio
import json
import warnings

import pytest

from fireact.dialects import Author, Piece
from fireact.errors import ConfigError, ModelError
from fireact.models import LocalConfig, Reply, Request, open_model
from fireact.models.weights import fingerprint
from tiny import cut_off, save_tiny_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

SHARED = "An example of a question and its answer, long enough to be read once for all rows.\n\n"
TEXTS = ("Question: a?\n", "Question: which of two?\n", "Question: ä, ö and ü?\n", "Q\n", "Question: " + "long " * 20)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_base(tmp_path_factory.mktemp("base"))


def ask(model, requests):
    async def together():
        return await asyncio.gather(*(model.reply(request) for request in requests))

    return asyncio.run(together())


def request(text, **settings):
    return Request(pieces=(Piece(text),), **{"max_tokens": 24, **settings})


def greedy(base, text, max_tokens=24):
    """What transformers' own generate writes for one prompt."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]])
    out = model.generate(ids, max_new_tokens=max_tokens, do_sample=False, pad_token_id=1)[0, ids.shape[1] :]
    return tokenizer.decode(out, skip_special_tokens=False).removesuffix("</s>")


def replies_and_greedy(base, texts):
    """What a batch writes, and what generate writes one at a time."""
    replies = ask(open_model(LocalConfig(path=str(base))), [request(text) for text in texts])
    return [reply.text for reply in replies], [greedy(base, text) for text in texts]


@pytest.mark.parametrize("shared", ["", SHARED])
def test_a_batch_writes_what_generate_writes_one_at_a_time(base, shared):
    together, alone = replies_and_greedy(base, [shared + text for text in TEXTS])
    assert together == alone


def test_a_prefix_that_is_copied_for_want_of_room_changes_no_reply(base, monkeypatch):
    monkeypatch.setattr("fireact.models.attention.MOST_SCORES", 0)
    together, alone = replies_and_greedy(base, [SHARED + text for text in TEXTS])
    assert together == alone


@pytest.mark.parametrize("shape", [{"num_heads": 4}, {"window": 16}])
def test_models_of_other_shapes_write_what_generate_writes(tmp_path, shape):
    together, alone = replies_and_greedy(save_tiny_base(tmp_path, **shape), [SHARED + text for text in TEXTS])
    assert together == alone


def test_a_kept_prefix_serves_the_next_batch(base):
    model = open_model(LocalConfig(path=str(base)))
    first = ask(model, [request(SHARED + text) for text in TEXTS])
    again = ask(model, [request(SHARED + text) for text in reversed(TEXTS)])
    assert [reply.text for reply in again] == [reply.text for reply in reversed(first)]


def episode(model, starts, turns=3):
    """The replies of some episodes of several turns, all of them side by side."""
    prompts = [(Piece(start),) for start in starts]
    replies = []
    for turn in range(turns):
        told = ask(model, [Request(prompt, max_tokens=4 + 3 * turn) for prompt in prompts])
        replies.append([reply.text for reply in told])
        seen = [Piece(f"\nObservation: {turn * 'x'} {number}\n") for number in range(len(prompts))]
        written = [Piece(reply.text, Author.MODEL) for reply in told]
        prompts = [(*prompt, own, new) for prompt, own, new in zip(prompts, written, seen, strict=True)]
    return replies


@pytest.mark.parametrize("end_of_turn", [False, True])
def test_what_is_kept_between_turns_changes_no_reply(base, end_of_turn):
    config = LocalConfig(path=str(base), end_of_turn=end_of_turn)
    keeping, forgetful = open_model(config), open_model(config)
    forgetful.engine.decoder.kept.max_bytes = 0
    starts = [SHARED + text for text in TEXTS] + list(TEXTS)
    assert episode(keeping, starts) == episode(forgetful, starts)
    assert len(keeping.engine.decoder.kept)


def test_what_is_kept_stays_within_its_bytes(base):
    model = open_model(LocalConfig(path=str(base)))
    model.engine.decoder.kept.max_bytes = 400_000
    episode(model, TEXTS)
    assert 0 < model.engine.decoder.kept.num_bytes <= 400_000


def test_small_batches_give_the_same_replies(base):
    whole = ask(open_model(LocalConfig(path=str(base))), [request(text) for text in TEXTS])
    parts = ask(open_model(LocalConfig(path=str(base), batch_size=2)), [request(text) for text in TEXTS])
    assert [reply.text for reply in parts] == [reply.text for reply in whole]


def test_a_reply_ends_before_the_first_stop_string(base):
    model = open_model(LocalConfig(path=str(base)))
    (free,) = ask(model, [request(TEXTS[0])])
    stop = free.text[5:8]
    (cut,) = ask(model, [request(TEXTS[0], stop=("never seen", stop))])
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.tokens_out < free.tokens_out


@pytest.mark.parametrize("failing_call", [0, 3])
def test_a_failure_of_the_model_reaches_every_request_in_hand_and_no_later_one(base, failing_call):
    model = open_model(LocalConfig(path=str(base), batch_size=3))
    fail = fails_at(failing_call)
    hook = model.engine.decoder.model.register_forward_pre_hook(fail)
    told = told_or_failed(model, [request(text, max_tokens=4 * number) for number, text in enumerate(TEXTS, 1)])
    hook.remove()
    assert {type(one) for one in told} <= {Reply, ModelError}
    assert "RuntimeError: out of memory" in str(next(one for one in told if isinstance(one, ModelError)))
    assert ask(model, [request(TEXTS[0])])[0].text == greedy(base, TEXTS[0])


def fails_at(call):
    calls = iter(range(1000))

    def fail(*_):
        if next(calls) == call:
            raise RuntimeError("out of memory")

    return fail


def told_or_failed(model, requests):
    """A reply or an error for each request, within a few seconds."""

    async def together():
        waiting = asyncio.gather(*(model.reply(request) for request in requests), return_exceptions=True)
        return await asyncio.wait_for(waiting, timeout=20)

    return asyncio.run(together())


def test_different_limits_hold_in_one_batch(base):
    model = open_model(LocalConfig(path=str(base)))
    replies = ask(model, [request(TEXTS[0], max_tokens=number) for number in (1, 7, 3)])
    assert [reply.tokens_out for reply in replies] == [1, 7, 3]


def test_sampling_depends_on_the_seed_and_not_on_the_batch(base):
    model = open_model(LocalConfig(path=str(base)))
    alone = ask(model, [request(TEXTS[0], temperature=1.0, seed=7)])[0]
    mixed = ask(model, [request(text, temperature=1.0, seed=7 + n) for n, text in enumerate(TEXTS)])
    assert mixed[0].text == alone.text
    assert ask(model, [request(TEXTS[0], temperature=1.0, seed=8)])[0].text != alone.text


def test_an_end_token_follows_the_models_own_turns_where_the_model_was_tuned_so(base):
    pieces = (Piece("Question: a?\n"), Piece("Thought: b", Author.MODEL), Piece("\nObservation: c\n"))
    plain = open_model(LocalConfig(path=str(base)))
    tuned = open_model(LocalConfig(path=str(base), end_of_turn=True))
    lengths = [ask(model, [Request(pieces, max_tokens=1)])[0].tokens_in for model in (plain, tuned)]
    assert lengths[1] == lengths[0] + 1


def test_a_prompt_beyond_the_context_is_a_model_error_with_both_numbers(tmp_path):
    model = open_model(LocalConfig(path=str(save_tiny_base(tmp_path, context=16))))
    with pytest.raises(ModelError, match=r"the prompt has 41 tokens, the context of .* 16"):
        ask(model, [request("x" * 40)])


def test_a_reply_stops_where_the_context_ends(tmp_path):
    model = open_model(LocalConfig(path=str(save_tiny_base(tmp_path, context=16))))
    assert ask(model, [request("x" * 10)])[0].tokens_out <= 5


def test_a_model_of_an_unknown_type_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing"}))
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        open_model(LocalConfig(path=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_weights_that_are_cut_off_are_refused(tmp_path):
    cut_off(save_tiny_base(tmp_path) / "model.safetensors")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_model(LocalConfig(path=str(tmp_path)))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_of_another_base_is_refused_with_the_next_step(base, tmp_path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    other = transformers.AutoModelForCausalLM.from_pretrained(save_tiny_base(tmp_path / "other", num_heads=4))
    peft.get_peft_model(other, peft.LoraConfig(target_modules=["k_proj"])).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ConfigError, match=r"does not fit .* give the base that it was trained on") as caught:
        open_model(LocalConfig(path=str(base), adapter=str(tmp_path / "adapter")))
    assert "\n" not in str(caught.value)


def test_an_adapter_whose_base_has_changed_since_is_refused(base, tmp_path):
    peft = pytest.importorskip("peft")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        peft.get_peft_model(model, peft.LoraConfig(target_modules=["k_proj"])).save_pretrained(tmp_path)
    card = {"format": "fireact-adapter", "version": 1, "base": "b", "base_fingerprint": fingerprint(str(base))}
    (tmp_path / "fireact.json").write_text(json.dumps(card))
    open_model(LocalConfig(path=str(base), adapter=str(tmp_path)))
    (tmp_path / "fireact.json").write_text(json.dumps(card | {"base_fingerprint": "0" * 64}))
    with pytest.raises(
        ConfigError, match=r"was trained on another base than .*; give the one that its card names, 'b'"
    ):
        open_model(LocalConfig(path=str(base), adapter=str(tmp_path)))


def test_a_device_that_is_not_there_is_refused(base):
    with pytest.raises(ConfigError, match="device 'nowhere' cannot be used"):
        open_model(LocalConfig(path=str(base), device="nowhere"))


def save_adapter(base, folder, seed):
    """A LoRA adapter that changes what the base writes."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        settings = peft.LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        peft.get_peft_model(model, settings).save_pretrained(folder)
    return str(folder)


def test_models_that_differ_in_their_adapters_write_in_one_batch_what_each_writes_alone(base, tmp_path):
    adapters = [None, save_adapter(base, tmp_path / "a", 1), save_adapter(base, tmp_path / "b", 2)]
    configs = [LocalConfig(path=str(base), adapter=adapter) for adapter in adapters]
    texts = [SHARED + text for text in TEXTS]
    alone = [[reply.text for reply in ask(open_model(config), [request(text) for text in texts])] for config in configs]
    assert len({tuple(replies) for replies in alone}) == 3

    async def together():
        models = pytest.importorskip("fireact.models.local").open_together(configs)
        assert len({model.engine for model in models}) == 1
        pieces = [asyncio.gather(*(model.reply(request(text)) for text in texts)) for model in models]
        first = [[reply.text for reply in replies] for replies in await asyncio.gather(*pieces)]
        # A second turn goes on from the first one's keys and values, each from those of its own adapter.
        second = [
            await asyncio.gather(*map(model.reply, next_turns(replies)))
            for model, replies in zip(models, first, strict=True)
        ]
        return first, [[reply.text for reply in replies] for replies in second]

    def next_turns(replies):
        answer = Piece("\nObservation: x\n")
        return [
            Request((Piece(text), Piece(reply, Author.MODEL), answer), max_tokens=8)
            for text, reply in zip(texts, replies, strict=True)
        ]

    first, second = asyncio.run(together())
    assert first == alone
    for config, replies, nexts in zip(configs, first, second, strict=True):
        assert [reply.text for reply in ask(open_model(config), next_turns(replies))] == nexts
