"""Encoding: a trajectory -> token ids with a loss mask, the gate that refuses a wrong mask, and training batches.

`encode` and `check` are pure given a tokenizer; only `pack` needs torch and is imported where tensors are made.
"""

from fireact.encoding.batches import grouped_batches
from fireact.encoding.encode import Encoded, encode
from fireact.encoding.gate import check

__all__ = ["Encoded", "check", "encode", "grouped_batches"]
