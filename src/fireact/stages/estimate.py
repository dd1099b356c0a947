"""What a stage that asks would do and cost, before it asks: calls, tokens and dollars. Opens no model.

A token is taken for four characters. The likely case has LIKELY_TURNS turns with replies of LIKELY_REPLY tokens; the
most has all turns, replies of full length and observations of full length. What the cache has is not taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fireact.config import Config
from fireact.dialects import open_dialect
from fireact.methods import MethodConfig, open_method
from fireact.models import ModelConfig
from fireact.models.openai import OpenAIConfig
from fireact.money import Price, price_table
from fireact.stages.asking import AgentSettings, QuestionSet, open_questions
from fireact.stages.evaluate import EvaluateConfig, cells_of
from fireact.stages.generate import GenerateConfig

CHARACTERS_PER_TOKEN = 4
LIKELY_TURNS = 4
"""Of a method with tools; the paper's ReAct trajectories have about 3 to 4."""
LIKELY_REPLY = 60
MOST_LOOKED_AT = 50
"""Questions of a set whose prompts are measured; the mean stands for all."""


@dataclass(frozen=True)
class Load:
    """What is asked of a model."""

    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(self.calls + other.calls, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def cost(self, price: Price) -> float:
        """Dollars."""
        return price.cost(tokens_in=round(self.tokens_in), tokens_out=round(self.tokens_out))


@dataclass(frozen=True)
class Estimate:
    """What one model is asked in a stage."""

    label: str
    episodes: int
    likely: Load
    most: Load
    price: Price | None
    is_paid: bool
    """Whether its calls go to a server."""

    def line(self) -> str:
        """In one line, for the user."""
        likely, most = self.likely, self.most
        return (
            f"{self.label}: {self.episodes:,} episodes, about {likely.calls:,.0f} calls (at most {most.calls:,.0f}), "
            f"{likely.tokens_in:,.0f} tokens read ({most.tokens_in:,.0f}) and {likely.tokens_out:,.0f} written "
            f"({most.tokens_out:,.0f}), {self._money()}"
        )

    def _money(self) -> str:
        if not self.is_paid:
            return "nothing to pay"
        if self.price is None:
            return "price not known; give the model a 'price'"
        return (
            f"about ${self.likely.cost(self.price):,.2f} (at most ${self.most.cost(self.price):,.2f}) at "
            f"${self.price.input:g} and ${self.price.output:g} for a million tokens"
        )


def estimates(section: Config) -> Iterator[Estimate]:
    """What each model of a stage is asked; nothing for stages that ask none.

    Raises:
        FireactError: a name, a prompt or questions that the stage would refuse too.
    """
    if isinstance(section, GenerateConfig):
        asked = [(group, section, group.method) for group in section.episodes]
        yield _estimate("generate", section.teacher, asked)
    elif isinstance(section, EvaluateConfig):
        for agent in section.agents:
            yield _estimate(
                f"evaluate {agent.name}",
                agent.model,
                [(cell.chosen, agent, agent.method) for cell in cells_of(agent, section)],
            )


def _estimate(
    label: str, model: ModelConfig, asked: Sequence[tuple[QuestionSet, AgentSettings, MethodConfig]]
) -> Estimate:
    price = model.find_price() if isinstance(model, OpenAIConfig) else None
    episodes, likely, most = 0, Load(), Load()
    for chosen, settings, method in asked:
        num, first, turns = _first_turn(chosen, settings, method)
        seen = max((_most_seen(tool) for tool in settings.tools), default=0.0)
        episodes += num
        likely += _load(num, first, min(turns, LIKELY_TURNS), min(LIKELY_REPLY, settings.max_tokens), seen / 2)
        most += _load(num, first, turns, settings.max_tokens, seen)
    return Estimate(label, episodes, likely, most, price, isinstance(model, OpenAIConfig))


def _first_turn(chosen: QuestionSet, settings: AgentSettings, method: MethodConfig) -> tuple[int, float, int]:
    """How many questions there are, the tokens of a first prompt, and the turns that an episode can have."""
    questions = open_questions(chosen)
    opened = open_method(method, chosen.task)
    dialect, turn = open_dialect(settings.dialect), opened.turn([])
    lengths = [
        sum(len(piece.text) for piece in dialect.render(one, [], instruction=turn.instruction, reflection=""))
        for one in islice(questions, 0, None, max(1, len(questions) // MOST_LOOKED_AT))
    ]
    turns = settings.max_steps if opened.uses_tools else 1
    return len(questions), sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN, turns


def _most_seen(tool: Config) -> float:
    """Tokens of the longest observation of a tool."""
    shown = getattr(tool, "snippet_chars", 0) * getattr(tool, "top_k", 1)
    return float(shown) / CHARACTERS_PER_TOKEN


def _load(episodes: int, first: float, turns: int, reply: float, seen: float) -> Load:
    """Each turn reads the first prompt again, and all replies and observations since."""
    read = turns * first + (reply + seen) * turns * (turns - 1) / 2
    return Load(episodes * turns, episodes * read, episodes * turns * reply)


def report(found: Iterable[Estimate]) -> str:
    """All estimates in lines, with the day of the list prices where one is used."""
    lines = list(found)
    dated = any(one.price is not None and one.price in price_table().prices.values() for one in lines)
    note = [f"list prices of {price_table().date}; give a model its 'price' where yours differ"] if dated else []
    return "\n".join([*(one.line() for one in lines), *note]) or "no model is asked anything"
