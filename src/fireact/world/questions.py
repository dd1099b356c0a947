"""The four task families over the shipped world, each with train, validation and test splits.

    world/hop       two-hop bridge and comparison questions             plays HotpotQA
    world/yesno     yes or no                                           StrategyQA
    world/choice    one of four                                         MMLU
    world/compose   relation chains that occur in no training split     Bamboogle

No question stands in two splits. The subjects that questions of hop, yesno and choice are asked about (not the
entities in between) belong to one split each, so no subject of a test question occurs as the subject of a training
question of any family. `world/compose` has a test split only, over the chains in `UNSEEN_CHAINS` and test subjects.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice

from fireact.trajectory import LETTERS, Fact, Question
from fireact.world.pages import Entity, World
from fireact.world.schema import YEAR

SPLITS = ("train", "validation", "test")
SHARES = (0.5, 0.1, 0.4)
"""Shares of the subjects in the splits."""

CHAINS: dict[str, tuple[tuple[str, ...], ...]] = {
    "novel": (("author", "birthplace"), ("author", "employer"), ("setting", "region"), ("setting", "river")),
    "film": (("director", "birthplace"), ("director", "employer"), ("setting", "region"), ("setting", "river")),
    "opera": (("composer", "birthplace"), ("composer", "employer"), ("setting", "region"), ("setting", "river")),
    "company": (("founder", "birthplace"), ("seat", "region"), ("seat", "river")),
    "school": (("founder", "birthplace"), ("seat", "region"), ("seat", "river")),
    "person": (("birthplace", "region"), ("employer", "seat"), ("employer", "founder")),
}
UNSEEN_CHAINS: dict[str, tuple[tuple[str, ...], ...]] = {
    "novel": (("author", "occupation"), ("author", "birthplace", "region"), ("author", "employer", "seat")),
    "film": (("director", "occupation"), ("director", "birthplace", "river"), ("director", "employer", "founder")),
    "opera": (("composer", "occupation"), ("setting", "region", "capital"), ("composer", "employer", "seat")),
    "company": (("founder", "occupation"), ("founder", "birthplace", "region"), ("seat", "region", "emblem")),
    "school": (("founder", "employer"), ("founder", "birthplace", "river"), ("seat", "region", "capital")),
    "person": (("birthplace", "river"), ("employer", "seat", "region"), ("birthplace", "region", "emblem")),
}
COMPARABLE = {
    "person": "born", "town": "founded", "company": "founded", "school": "founded", "novel": "released",
    "film": "released", "opera": "released",
}  # fmt: skip
COUNTS: dict[str, dict[str, int]] = {
    "world/hop": {"train": 1200, "validation": 200, "test": 500},
    "world/yesno": {"train": 600, "validation": 100, "test": 300},
    "world/choice": {"train": 600, "validation": 100, "test": 300},
    "world/compose": {"test": 300},
}
BRIDGE_SHARE = 0.75
"""Share of bridge questions in `world/hop`; the rest are comparisons."""


@dataclass(frozen=True)
class Draft:
    """A question before it has a number."""

    text: str
    answer: str
    kind: str
    chain: tuple[Fact, ...]
    choices: tuple[str, ...] = ()


def questions(task: str, split: str) -> tuple[Question, ...]:
    """The questions of a family's split of the shipped world; empty where the family has no such split."""
    return _all_questions()[task].get(split, ())


@lru_cache(maxsize=1)
def _all_questions() -> dict[str, dict[str, tuple[Question, ...]]]:
    world = World.default()
    drafters = {
        "world/hop": draft_hop,
        "world/yesno": draft_yesno,
        "world/choice": draft_choice,
        "world/compose": draft_compose,
    }
    return {
        task: {
            split: tuple(_number(islice(_distinct(drafter(world, split)), COUNTS[task][split]), task, split))
            for split in COUNTS[task]
        }
        for task, drafter in drafters.items()
    }


def _number(drafts: Iterable[Draft], task: str, split: str) -> Iterator[Question]:
    for number, draft in enumerate(drafts):
        yield Question(
            id=f"{split}-{number}",
            task=task,
            split=split,
            text=draft.text,
            choices=draft.choices,
            answer=draft.answer,
            kind=draft.kind,
            chain=draft.chain,
        )


def _distinct(drafts: Iterable[Draft]) -> Iterator[Draft]:
    seen: set[str] = set()
    for draft in drafts:
        if draft.text not in seen:
            seen.add(draft.text)
            yield draft


def split_of(entity: Entity) -> str:
    """The one split in which an entity may be the subject of a question."""
    return _split_of_name(entity.name)


@cache
def _split_of_name(name: str) -> str:
    return random.Random(f"split of {name}").choices(SPLITS, SHARES)[0]


def subjects(world: World, split: str, *kinds: str) -> list[Entity]:
    return [entity for entity in world.of_kind(*kinds) if split_of(entity) == split]


def follow(world: World, entity: Entity, relations: Iterable[str]) -> tuple[Fact, ...] | None:
    """The facts along a chain of relations; None where one of them is missing."""
    chain = []
    current: Entity | None = entity
    for relation in relations:
        if current is None or relation not in current.facts:
            return None
        value = current.facts[relation]
        chain.append(Fact(subject=current.name, relation=relation, value=value, is_famous=current.is_famous))
        current = world.by_name.get(value)
    return tuple(chain)


def ask(world: World, chain: tuple[Fact, ...], mention: str, rng: random.Random) -> str:
    """A question for the last value of a chain that starts at `mention`."""
    phrase = mention
    for fact in chain[:-1]:
        relation = world.by_name[fact.subject].kind.relation(fact.relation)
        phrase = rng.choice(relation.phrases).format(s=phrase)
    last = world.by_name[chain[-1].subject].kind.relation(chain[-1].relation)
    return rng.choice(last.questions).format(s=phrase)


def mention(entity: Entity, rng: random.Random) -> str:
    """How a question names an entity: one with an alias is named twice, in either order."""
    if entity.alias is None:
        return entity.name
    first, second = rng.sample((entity.name, entity.alias), 2)
    return f"{first} (also known as {second})"


def draft_hop(world: World, split: str) -> Iterator[Draft]:
    """Bridge and comparison questions in a fixed random order."""
    rng = random.Random(f"world/hop {split}")
    bridges = draft_chains(world, split, CHAINS, rng)
    comparisons = draft_comparisons(world, split, rng)
    while True:
        source = bridges if rng.random() < BRIDGE_SHARE else comparisons
        draft = next(source, None)
        if draft is None:
            return
        yield draft


def draft_compose(world: World, split: str) -> Iterator[Draft]:
    return draft_chains(world, split, UNSEEN_CHAINS, random.Random(f"world/compose {split}"))


def draft_chains(
    world: World, split: str, chains: dict[str, tuple[tuple[str, ...], ...]], rng: random.Random
) -> Iterator[Draft]:
    """Every subject with every chain of its kind, shuffled."""
    pairs = [(entity, names) for entity in subjects(world, split, *chains) for names in chains[entity.kind.name]]
    rng.shuffle(pairs)
    for entity, names in pairs:
        chain = follow(world, entity, names)
        if chain is not None and chain[-1].value != entity.name:
            yield Draft(ask(world, chain, mention(entity, rng), rng), chain[-1].value, "bridge", chain)


def draft_comparisons(world: World, split: str, rng: random.Random) -> Iterator[Draft]:
    """Which of two entities of a kind has the earlier or later year."""
    while True:
        kind = rng.choice(list(COMPARABLE))
        first, second = rng.sample(subjects(world, split, kind), 2)
        relation = first.kind.relation(COMPARABLE[kind])
        chain = tuple(fact for entity in (first, second) for fact in follow(world, entity, [relation.name]) or ())
        if chain[0].value == chain[1].value:
            continue
        wants_later = rng.random() < 0.5
        asked, _, names = rng.choice(relation.later if wants_later else relation.earlier).partition(", ")
        text = f"Of {names.removesuffix('?').replace(' or ', ' and ')}, {asked[0].lower()}{asked[1:]}?"
        text = text.format(a=first.name, b=second.name)
        by_year = sorted(chain, key=lambda fact: int(fact.value))
        yield Draft(text, by_year[-1 if wants_later else 0].subject, "comparison", chain)


def draft_yesno(world: World, split: str) -> Iterator[Draft]:
    """Balanced yes and no: a claim about the end of a chain, or an order of two years."""
    rng = random.Random(f"world/yesno {split}")
    bridges = draft_chains(world, split, CHAINS, rng)
    comparisons = draft_comparisons(world, split, rng)
    while True:
        is_true = rng.random() < 0.5
        if rng.random() < 0.6:
            draft = next(bridges, None)
            if draft is None:
                return
            claimed = draft.answer if is_true else _other_value(world, draft, rng)
            yield Draft(f"{draft.text} Is it {claimed}?", _yes(is_true), "claim", draft.chain)
        else:
            yield _order_claim(next(comparisons), rng)


def _order_claim(draft: Draft, rng: random.Random) -> Draft:
    first, second = rng.sample(draft.chain, 2)
    verb = {"born": "born", "founded": "founded", "released": "shown"}[first.relation]
    text = f"Was {first.subject} {verb} before {second.subject}?"
    return Draft(text, _yes(int(first.value) < int(second.value)), "order", (first, second))


def _yes(is_true: bool) -> str:
    return "yes" if is_true else "no"


def _other_value(world: World, draft: Draft, rng: random.Random) -> str:
    return rng.choice(_alternatives(world, draft))


def _alternatives(world: World, draft: Draft) -> list[str]:
    """Other values that the last relation of a chain has elsewhere."""
    last = draft.chain[-1]
    kind = world.by_name[last.subject].kind.name
    values = {entity.facts[last.relation] for entity in world.of_kind(kind) if last.relation in entity.facts}
    return sorted(values - {last.value})


def draft_choice(world: World, split: str) -> Iterator[Draft]:
    """Chains with one and two hops and four choices."""
    rng = random.Random(f"world/choice {split}")
    single = {
        kind: tuple(
            (relation.name,) for relation in world.of_kind(kind)[0].kind.relations if relation.targets != (YEAR,)
        )
        for kind in CHAINS
    }
    both = {kind: CHAINS[kind] + single[kind] for kind in CHAINS}
    for draft in draft_chains(world, split, both, rng):
        choices = [draft.answer, *rng.sample(_alternatives(world, draft), 3)]
        rng.shuffle(choices)
        letter = LETTERS[choices.index(draft.answer)]
        kind = "choice" if len(draft.chain) == 1 else "choice of two hops"
        yield Draft(draft.text, letter, kind, draft.chain, tuple(choices))
