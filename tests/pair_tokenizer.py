"""A tokenizer for tests, in pure Python: two bytes a token, so that the tokens of a text depend on where it begins."""

from collections.abc import Sequence

START, END, SINGLE = 0, 1, 2
PAIR = SINGLE + 256


class PairTokenizer:
    """Ids: 0 start, 1 end, then the 256 bytes, then the 65,536 pairs of bytes."""

    def __init__(self, *, bos: int | None = START, eos: int | None = END) -> None:
        self.bos_token_id = bos
        self.eos_token_id = eos

    def encode(self, text: str, /, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        assert split_special_tokens
        data = text.encode("utf-8", "surrogatepass")
        pairs = [PAIR + 256 * data[i] + data[i + 1] for i in range(0, len(data) - 1, 2)]
        return pairs + [SINGLE + data[-1]] * (len(data) % 2)

    def decode(self, ids: Sequence[int], /, *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        assert not skip_special_tokens
        assert not clean_up_tokenization_spaces
        return b"".join(self._bytes(i) for i in ids).decode("utf-8", "surrogatepass")

    def _bytes(self, i: int) -> bytes:
        if i < SINGLE:
            return (b"<s>", b"</s>")[i]
        return bytes([i - SINGLE]) if i < PAIR else bytes(divmod(i - PAIR, 256))
