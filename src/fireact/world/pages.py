"""A world: entities with facts, and a short page for each. A pure function of a schema and a seed.

In the shipped world half of the entities of each kind are famous: their pages are in the pretraining text of the base
model. Links between entities prefer the same fame, so that many questions are wholly famous or wholly obscure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from fireact.world.names import Namer
from fireact.world.schema import WORDS, WORLD, YEAR, Kind, Relation, Schema

SHIPPED_SEED = 5915
SHIPPED_COUNTS = {
    "region": 12, "town": 96, "person": 360, "novel": 96, "film": 96, "opera": 96, "company": 80, "school": 80,
}  # fmt: skip
SAME_FAME = 0.85
"""Probability that a link leads to an entity of the same fame."""
ALIAS_SHARE = 0.3
"""Share of the entities with style `person`, `title` or `house` that have a second name, which no page mentions."""
PRONOUN_SHARE = 0.85
"""Share of the sentences of a page that say he, she or it where they could say the name."""


@dataclass(frozen=True)
class Page:
    """What search finds: the text opens with the title."""

    title: str
    text: str


@dataclass(frozen=True)
class Entity:
    """Something that has a name, facts and a page."""

    name: str
    kind: Kind
    is_famous: bool
    alias: str | None
    facts: Mapping[str, str] = field(default_factory=dict)
    """Relation name -> value: the name of another entity, a year, or a word."""


def page_text(entity: Entity, rng: random.Random) -> str:
    """One of the many wordings of an entity's page: an opening, then its facts in random order."""
    first, *rest = _sentences(entity, rng)
    return " ".join([first, *rest])


def _sentences(entity: Entity, rng: random.Random) -> Iterator[str]:
    relations = [entity.kind.relation(name) for name in entity.facts]
    rng.shuffle(relations)
    if entity.kind.openings:
        yield rng.choice(entity.kind.openings).format(s=entity.name)
    else:
        relations.sort(key=lambda relation: relation is not entity.kind.relations[0])
    for number, relation in enumerate(relations):
        is_opening = number == 0 and not entity.kind.openings
        yield state(entity, relation, rng, subject=entity.name if is_opening else None)


def state(entity: Entity, relation: Relation, rng: random.Random, *, subject: str | None = None) -> str:
    """A sentence that states one fact, about the subject that is given or else, mostly, about a pronoun."""
    sentence = rng.choice(relation.sentences)
    if subject is None:
        with_pronoun = sentence.startswith("{s} ") and rng.random() < PRONOUN_SHARE
        subject = _pronoun(entity) if with_pronoun else entity.name
    return sentence.format(s=subject, v=entity.facts[relation.name])


def _pronoun(entity: Entity) -> str:
    if entity.kind.naming != "person":
        return "It"
    return random.Random(entity.name).choice(("He", "She"))


@dataclass(frozen=True)
class World:
    """Entities by name, in a fixed order."""

    entities: tuple[Entity, ...]

    @staticmethod
    def generate(
        schema: Schema,
        counts: Mapping[str, int],
        seed: int | str,
        *,
        famous_share: float = 0.0,
        reserved: Iterable[str] = (),
    ) -> World:
        """A world of so many entities of each kind, with no name that is reserved."""
        rng = random.Random(f"{seed}/world")
        namer = Namer(rng, reserved=reserved)
        blanks = [
            _blank(kind, number < famous_share * counts[kind.name], namer)
            for kind in schema.kinds
            for number in range(counts.get(kind.name, 0))
        ]
        rivers = [namer.fresh("place") for _ in range(max(2, len(blanks) // 40))]
        links = {kind.name: [blank for blank in blanks if blank.kind is kind] for kind in schema.kinds}
        return World(tuple(_with_facts(blank, links, rivers, rng) for blank in blanks))

    @staticmethod
    @lru_cache(maxsize=1)
    def default() -> World:
        """The shipped world, the one that tasks, search and base weights are about."""
        return World.generate(WORLD, SHIPPED_COUNTS, SHIPPED_SEED, famous_share=0.5)

    @cached_property
    def by_name(self) -> dict[str, Entity]:
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def pages(self) -> tuple[Page, ...]:
        """One page for each entity."""
        rng = random.Random("pages")
        return tuple(Page(entity.name, page_text(entity, rng)) for entity in self.entities)

    def of_kind(self, *names: str) -> list[Entity]:
        return [entity for entity in self.entities if entity.kind.name in names]


def _blank(kind: Kind, is_famous: bool, namer: Namer) -> Entity:
    name = namer.fresh(kind.naming, kind.name)
    has_alias = kind.naming != "place" and namer.rng.random() < ALIAS_SHARE
    return Entity(name, kind, is_famous, namer.fresh(kind.naming, kind.name) if has_alias else None)


def _with_facts(entity: Entity, links: Mapping[str, list[Entity]], rivers: list[str], rng: random.Random) -> Entity:
    facts = {}
    for relation in entity.kind.relations:
        value = _value(entity, relation, links, rivers, rng)
        if value is not None:
            facts[relation.name] = value
    return Entity(entity.name, entity.kind, entity.is_famous, entity.alias, facts)


def _value(
    entity: Entity, relation: Relation, links: Mapping[str, list[Entity]], rivers: list[str], rng: random.Random
) -> str | None:
    target = relation.targets[0]
    if target == YEAR:
        return str(rng.randint(1700, 1999))
    if target == "river":
        return rng.choice(rivers)
    if target in WORDS:
        return rng.choice(WORDS[target])
    candidates = [other for kind in relation.targets for other in links.get(kind, ()) if other is not entity]
    alike = [other for other in candidates if other.is_famous == entity.is_famous]
    chosen = alike if alike and rng.random() < SAME_FAME else candidates
    return rng.choice(chosen).name if chosen else None
