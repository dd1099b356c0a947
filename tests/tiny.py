"""A tiny base model for tests: a Llama of 2 layers x 32 with a byte-level tokenizer, random but seeded."""

from pathlib import Path

import pytest


def save_tiny_base(folder: Path, *, context: int = 512, num_heads: int = 2, window: int | None = None) -> Path:
    """Write model and tokenizer to `folder`.

    Args:
        context: tokens that it reads at most.
        num_heads: heads of the queries, which share 2 heads of keys and values.
        window: tokens back that it looks, so that its keys and values cannot be cut and joined; all where None.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *sorted(alphabet)])}
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    kind = "Llama" if window is None else "Mistral"
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=num_heads,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
        **({} if window is None else {"sliding_window": window}),
    )
    torch.manual_seed(0)
    getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    return folder


def cut_off(path: Path) -> None:
    """Leave the first half of a file, as a broken download does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
