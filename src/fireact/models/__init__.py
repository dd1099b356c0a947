"""Models: a request -> a reply. One file for each way to get text.

A new kind of model is one file, its config named in `ModelConfig`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from pydantic import Field

from fireact.cache import Cache
from fireact.dialects import Piece
from fireact.money import Budget


@dataclass(frozen=True)
class Request:
    """One call: read the pieces, write what follows."""

    pieces: tuple[Piece, ...]
    stop: tuple[str, ...] = ()
    """The reply ends before the first of these; they are not part of it."""
    max_tokens: int = 256
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0

    @property
    def text(self) -> str:
        """All pieces as one text, for models that take text."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    text: str
    tokens_in: int
    tokens_out: int
    seconds: float
    """That the model worked on it; the time of a batch is shared equally among its requests."""
    dollars: float | None = None
    """What it cost when it was paid for; None where no price is known."""
    is_cached: bool = False
    """Whether the cache had it, and nothing was paid this time."""


@dataclass(frozen=True)
class Means:
    """What models and tools of one stage share; those that cost nothing need none of it."""

    budget: Budget = field(default_factory=Budget)
    cache: Cache | None = None


class Model(Protocol):
    """Anything that answers requests; many requests may be awaited at once.

    Raises ModelError where no reply can be had.
    """

    name: str

    async def reply(self, request: Request) -> Reply: ...

    async def close(self) -> None: ...


# At the end because models are made of the types defined above.
from fireact.models.openai import OpenAIConfig  # noqa: E402
from fireact.models.oracle import OracleConfig  # noqa: E402
from fireact.models.scripted import ScriptedConfig  # noqa: E402
from fireact.models.weights import LocalConfig  # noqa: E402

ModelConfig = Annotated[LocalConfig | OpenAIConfig | OracleConfig | ScriptedConfig, Field(discriminator="kind")]
"""The config of any model; `kind` says of which."""


def open_model(config: ModelConfig, means: Means | None = None) -> Model:
    """The model that a config describes.

    Raises:
        ConfigError: there is no such model.
        DependencyError: it needs a package that is not installed.
    """
    return config.open(means or Means())


def open_models(configs: Sequence[ModelConfig], means: Means | None = None) -> list[Model]:
    """The models of several configs; local ones share one base and one batch if they differ in their adapters alone.

    Raises:
        ConfigError: there is no such model.
        DependencyError: it needs a package that is not installed.
    """
    local = [config for config in configs if isinstance(config, LocalConfig)]
    if len(local) == len(configs) > 1 and len({config.without_adapter() for config in local}) == 1:
        return list(LocalConfig.open_together(local))
    return [open_model(config, means) for config in configs]
