"""The text that the base model is pretrained on, by kind. Pure: a random generator in, a document out.

    pages       pages of famous entities, in many wordings
    recall      closed-book questions about famous facts, one hop; two hops only for subjects of the train split
    reading     pages of fresh random worlds with distractors, then questions about them, with reasoning
    episodes    k-shot episodes of search and answer over fresh worlds of the practice schema, each document with
                its own words for question, thought, action and observation, its own tools and its own brackets
    drills      comparing numbers, and telling whether a page is about what was asked
    transcripts longer k-shot episodes, with comparisons, more ways to think aloud, and searches that fail
    forms       transcripts whose tools and labels have made-up names: a form can only be copied, not guessed
    kindred     forms over fresh worlds of the same kinds of entities as the shipped one: a question of its kind may be
                one to look up, and need not be answered at once as in recall and reading
    careful     forms with careful thoughts: which page is sought, whether it is the one that was found, and years
                compared digit by digit
    checks      two steps of careful thoughts, alone and over and over: whether a page is the one that was asked for,
                and which of two years is the later one

No document holds a question of any task's test split or a page of an obscure entity.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from fireact.trajectory import LETTERS, Fact
from fireact.world.names import word
from fireact.world.pages import Entity, World, page_text, state
from fireact.world.questions import CHAINS, COUNTS, ask, follow, mention, questions, split_of
from fireact.world.schema import PRACTICE, WORLD, Schema
from fireact.world.thoughts import asked_year, check_page, compare_years, place

MIXTURES = {
    "early": {"pages": 0.10, "recall": 0.12, "reading": 0.40, "episodes": 0.30, "drills": 0.08},
    "late": {"pages": 0.08, "recall": 0.10, "reading": 0.30, "transcripts": 0.46, "drills": 0.06},
    "last": {"pages": 0.08, "recall": 0.10, "reading": 0.22, "forms": 0.55, "drills": 0.05},
    "final": {
        "pages": 0.06,
        "recall": 0.10,
        "reading": 0.14,
        "forms": 0.32,
        "kindred": 0.015,
        "careful": 0.05,
        "checks": 0.315,
    },
}
"""Shares of the characters of the text, in the parts of pretraining."""

QUESTION_LABELS = ("Question", "Q", "Task", "Problem", "Query", "Ask")
THOUGHT_LABELS = ("Thought", "Think", "Reasoning", "Plan", "Note", "Idea", "Reason")
ACTION_LABELS = ("Action", "Act", "Do", "Call", "Step", "Next")
OBSERVATION_LABELS = ("Observation", "Result", "Output", "Found", "Response", "Page")
ANSWER_LABELS = ("Answer", "A", "Solution", "Reply", "So")
SEARCH_NAMES = ("search", "lookup", "find", "wiki", "query", "look", "open")
FINISH_NAMES = ("finish", "answer", "done", "final", "submit", "end")
BRACKETS = (("[", "]"), ("(", ")"), ("<", ">"), ("{", "}"), (": ", ""), (' "', '"'))
FAILED_SHARE = 0.05
"""Share of the searches of practice episodes that find nothing at first."""


def document(kind: str, rng: random.Random) -> str:
    """One document of a kind in `DOCUMENTS`."""
    return DOCUMENTS[kind](rng)


@lru_cache(maxsize=1)
def _reserved() -> frozenset[str]:
    """Names of the shipped world, which fresh worlds must not reuse for something else."""
    names = {entity.name for entity in World.default().entities}
    return frozenset(names | {entity.facts["river"] for entity in World.default().of_kind("town")})


@lru_cache(maxsize=1)
def _test_questions() -> frozenset[str]:
    return frozenset(question.text for task in COUNTS for question in questions(task, "test"))


@lru_cache(maxsize=1)
def _famous() -> tuple[Entity, ...]:
    return tuple(entity for entity in World.default().entities if entity.is_famous)


def fresh_world(schema: Schema, rng: random.Random, *, size: int = 4) -> World:
    """A small world that exists in one document only."""
    counts = {kind.name: size for kind in schema.kinds}
    return World.generate(schema, counts, rng.getrandbits(64), reserved=_reserved())


def pages_document(rng: random.Random) -> str:
    """A few famous pages; each is often followed by the page of something it mentions."""
    world = World.default()
    entity: Entity | None = rng.choice(_famous())
    texts = []
    for _ in range(rng.randint(1, 4)):
        if entity is None or not entity.is_famous:
            entity = rng.choice(_famous())
        texts.append(page_text(entity, rng))
        entity = world.by_name.get(rng.choice(list(entity.facts.values())))
    return "\n".join(texts)


def recall_document(rng: random.Random) -> str:
    """A list of closed-book questions with their answers, all in one form."""
    question_label, answer_label = rng.choice(QUESTION_LABELS), rng.choice(ANSWER_LABELS)
    thought_label = rng.choice(THOUGHT_LABELS)
    with_thought = rng.random() < 0.4
    lines = []
    for _ in range(rng.randint(3, 8)):
        chain, text = _famous_question(rng, two_hops=with_thought and rng.random() < 0.7)
        lines.append(f"{question_label}: {text}")
        if with_thought:
            lines.append(f"{thought_label}: {reasoning(World.default(), chain, rng)}")
        lines.append(f"{answer_label}: {chain[-1].value}")
    return "\n".join(lines)


def _famous_question(rng: random.Random, *, two_hops: bool) -> tuple[tuple[Fact, ...], str]:
    """One known fact, or two about a subject of the train split, with a question for it that is in no test split."""
    world = World.default()
    while True:
        entity = rng.choice(_famous())
        if two_hops and entity.kind.name in CHAINS and split_of(entity) == "train":
            chain = follow(world, entity, rng.choice(CHAINS[entity.kind.name]))
        else:
            chain = follow(world, entity, [rng.choice(list(entity.facts))])
        if chain is None or not all(fact.is_famous for fact in chain):
            continue
        text = ask(world, chain, mention(entity, rng), rng)
        if text not in _test_questions():
            return chain, text


def reasoning(world: World, chain: Sequence[Fact], rng: random.Random) -> str:
    """The facts of a chain, one sentence each."""
    return " ".join(_statement(world, fact, rng) for fact in chain)


def _statement(world: World, fact: Fact, rng: random.Random) -> str:
    entity = world.by_name[fact.subject]
    return state(entity, entity.kind.relation(fact.relation), rng, subject=entity.name)


@dataclass(frozen=True)
class Exercise:
    """A question about pages, with its answer, the facts it needs and the reasoning."""

    text: str
    answer: str
    chain: tuple[Fact, ...]
    thought: str


def reading_document(rng: random.Random) -> str:
    """Pages in random order and questions about some of them, the question first or last."""
    schema = WORLD if rng.random() < 0.6 else PRACTICE
    world = fresh_world(schema, rng, size=3)
    labels = rng.choice(QUESTION_LABELS), rng.choice(THOUGHT_LABELS), rng.choice(ANSWER_LABELS)
    return "\n".join(_reading_block(world, labels, rng) for _ in range(rng.randint(1, 3)))


def _reading_block(world: World, labels: tuple[str, str, str], rng: random.Random) -> str:
    exercise = _exercise(world, rng)
    if rng.random() < 0.25:
        exercise = rng.choice((_as_claim, _as_choice))(exercise, rng)
    needed = list(dict.fromkeys(fact.subject for fact in exercise.chain))
    others = [entity.name for entity in world.entities if entity.name not in needed]
    shown = [*needed, *rng.sample(others, rng.randint(0, 3))]
    rng.shuffle(shown)
    pages = [page_text(world.by_name[name], rng) for name in shown]
    question = [f"{labels[0]}: {exercise.text}"]
    lines = [*question, *pages] if rng.random() < 0.5 else [*pages, *question]
    if rng.random() < 0.8:
        lines.append(f"{labels[1]}: {exercise.thought}")
    lines.append(f"{labels[2]}: {exercise.answer}")
    return "\n".join(lines)


def _exercise(world: World, rng: random.Random) -> Exercise:
    """One hop, two hops, or two years."""
    if rng.random() < 0.3:
        return _comparison(world, rng)
    chain = _random_chain(world, rng, hops=1 if rng.random() < 0.4 else 2)
    subject = world.by_name[chain[0].subject]
    text = ask(world, chain, mention(subject, rng), rng)
    return Exercise(text, chain[-1].value, chain, reasoning(world, chain, rng))


def _as_claim(exercise: Exercise, rng: random.Random) -> Exercise:
    """The same as a question for yes or no."""
    is_true = rng.random() < 0.5
    claimed = (
        exercise.answer if is_true else rng.choice([word(rng), exercise.chain[0].subject, str(rng.randint(1700, 1999))])
    )
    verdict = f"{exercise.thought} So it is {exercise.answer}, {'' if is_true else 'not '}{claimed}."
    return Exercise(f"{exercise.text} Is it {claimed}?", "yes" if is_true else "no", exercise.chain, verdict)


def _as_choice(exercise: Exercise, rng: random.Random) -> Exercise:
    """The same as a question with four choices."""
    choices = [exercise.answer, word(rng), rng.choice((word(rng), exercise.chain[0].subject)), word(rng)]
    rng.shuffle(choices)
    letter = LETTERS[choices.index(exercise.answer)]
    lines = (f"{mark}. {choice}" for mark, choice in zip(LETTERS, choices, strict=False))
    thought = f"{exercise.thought} {exercise.answer} is {letter}."
    return Exercise("\n".join((exercise.text, *lines)), letter, exercise.chain, thought)


def _random_chain(world: World, rng: random.Random, *, hops: int) -> tuple[Fact, ...]:
    """A walk over facts that ends after so many hops."""
    while True:
        entity: Entity | None = rng.choice(world.entities)
        chain: list[Fact] = []
        while entity is not None and len(chain) < hops:
            relation, value = rng.choice(list(entity.facts.items()))
            chain.append(Fact(subject=entity.name, relation=relation, value=value))
            entity = world.by_name.get(value)
        if len(chain) == hops and len({fact.subject for fact in chain}) == hops:
            return tuple(chain)


def _comparison(world: World, rng: random.Random) -> Exercise:
    pairs = [(entity, relation) for entity in world.entities for relation in entity.kind.relations if relation.earlier]
    while True:
        first, relation = rng.choice(pairs)
        second = rng.choice([entity for entity in world.of_kind(first.kind.name) if entity is not first])
        chain = tuple(fact for entity in (first, second) for fact in follow(world, entity, [relation.name]) or ())
        if chain[0].value != chain[1].value:
            break
    wants_later = rng.random() < 0.5
    text = rng.choice(relation.later if wants_later else relation.earlier).format(a=first.name, b=second.name)
    winner, loser = sorted(chain, key=lambda fact: int(fact.value), reverse=wants_later)
    thought = f"{reasoning(world, chain, rng)} {_order(winner.value, loser.value, later=wants_later)}"
    return Exercise(text, winner.subject, chain, thought)


def _order(winner: str, loser: str, *, later: bool) -> str:
    return f"{winner} is {'later' if later else 'earlier'} than {loser}."


@dataclass(frozen=True)
class Form:
    """The surface of one document's episodes."""

    question: str
    thought: str
    action: str
    observation: str
    search: str
    finish: str
    brackets: tuple[str, str]
    with_thoughts: bool
    is_careful: bool = False
    """Whether thoughts say where they are, check the page, and compare years in words."""

    @staticmethod
    def draw(rng: random.Random) -> Form:
        return Form(
            rng.choice(QUESTION_LABELS),
            rng.choice(THOUGHT_LABELS),
            rng.choice(ACTION_LABELS),
            rng.choice(OBSERVATION_LABELS),
            rng.choice(SEARCH_NAMES),
            rng.choice(FINISH_NAMES),
            rng.choice(BRACKETS),
            rng.random() < 0.85,
        )

    @staticmethod
    def invent(rng: random.Random) -> Form:
        """A form in which half of the names are made up."""
        form = Form.draw(rng)
        return replace(
            form,
            observation=word(rng) if rng.random() < 0.5 else form.observation,
            search=word(rng).lower() if rng.random() < 0.5 else form.search,
            finish=word(rng).lower() if rng.random() < 0.5 else form.finish,
        )

    def call(self, tool: str, argument: str) -> str:
        return f"{self.action}: {tool}{self.brackets[0]}{argument}{self.brackets[1]}"


def episodes_document(rng: random.Random) -> str:
    """Two to six episodes in one form, over one practice world."""
    world = fresh_world(PRACTICE, rng, size=3)
    form = Form.draw(rng)
    return "\n\n".join(_episode(world, form, rng) for _ in range(rng.randint(2, 6)))


PLANS = (
    "{s} comes first.", "look up {s}.", "we need the page of {s}.", "what is known of {s}?", "check {s}.",
    "the way leads over {s}.",
)  # fmt: skip
ENDS = ("that gives {v}.", "so it is {v}.", "{v} it is.", "we have {v}.")


def _episode(world: World, form: Form, rng: random.Random) -> str:
    chain = _random_chain(world, rng, hops=rng.choice((1, 1, 1, 2, 2)))
    subject = world.by_name[chain[0].subject]
    lines = [f"{form.question}: {ask(world, chain, mention(subject, rng), rng)}"]
    known = ""
    for fact in chain:
        page = page_text(world.by_name[fact.subject], rng)
        plan = f"{known} {rng.choice(PLANS).format(s=fact.subject)}".strip()
        if rng.random() < FAILED_SHARE:
            lines += _round(form, plan, form.call(form.search, fact.subject), rng.choice(("None", "nothing found")))
            plan = f"nothing, again {fact.subject}."
        lines += _round(form, plan, form.call(form.search, fact.subject), page)
        known = _statement(world, fact, rng)
    end = f"{known} {rng.choice(ENDS).format(v=chain[-1].value)}"
    lines += _round(form, end, form.call(form.finish, chain[-1].value), None)
    return "\n".join(lines)


def _round(form: Form, thought: str, action: str, observation: str | None) -> list[str]:
    lines = [f"{form.thought}: {thought}"] if form.with_thoughts else []
    lines.append(action)
    if observation is not None:
        lines.append(f"{form.observation}: {observation}")
    return lines


LONGER_PLANS = (
    "First, the page of {s}.", "I will check {s} now.", "Perhaps {s} tells more.", "We must know more of {s}.",
    "I go on to {s}.", "My next stop is {s}.", "It would help to read about {s}.", "I want to see {s}.",
    "Time to open {s}.", "Then comes {s}.", "One has to find {s}.", "Let us read {s}.", "Now {s} is what I want.",
    "The first thing is to find {s}.", "So on to {s}.", "What does the page of {s} say?", "I do not know {s} yet.",
    "To go on, I open {s}.", "Next to read: {s}.", "Maybe I should begin with {s}.", "{s} is the one to find.",
    "To answer, one must know {s}.", "I need what stands about {s}.", "Let me look for {s}.", "This asks about {s}.",
)  # fmt: skip
LONGER_ENDS = (
    "I am done: {v}.", "This gives {v}.", "Hence {v}.", "The result must be {v}.", "Now I know that it is {v}.",
    "It follows that it is {v}.", "With that, I can say {v}.", "All found, it is {v}.",
)  # fmt: skip
FAILURES = ("None", "nothing", "no page", "not found")
AGAINS = ("Nothing there, I try {s}.", "No luck, once more {s}.", "It was not found, so {s} again.")
ASTRAY = ("This shows {t}, which is not {s}. Again {s}.", "Here is {t} instead of {s}. I try {s}.",
          "I asked for {s} and got {t}, so {s} once more.")  # fmt: skip


def transcripts_document(rng: random.Random) -> str:
    """Three to seven longer episodes in one form, over one practice world."""
    world = fresh_world(PRACTICE, rng, size=3)
    return _transcripts(world, Form.draw(rng), rng)


def forms_document(rng: random.Random) -> str:
    """The same in a made-up form."""
    world = fresh_world(PRACTICE, rng, size=3)
    return _transcripts(world, Form.invent(rng), rng)


def kindred_document(rng: random.Random) -> str:
    """The same over a world like the shipped one."""
    world = fresh_world(WORLD, rng, size=3)
    return _transcripts(world, Form.invent(rng), rng)


def careful_document(rng: random.Random) -> str:
    """Forms with careful thoughts."""
    world = fresh_world(PRACTICE, rng, size=3)
    form = rng.choice((Form.draw, Form.invent))(rng)
    return _transcripts(world, replace(form, with_thoughts=True, is_careful=True), rng)


def _transcripts(world: World, form: Form, rng: random.Random) -> str:
    failing = rng.choice((0.0, 0.3, 0.5) if form.is_careful else (0.0, 0.15, 0.4))
    episode = _careful_transcript if form.is_careful else _transcript
    return "\n\n".join(episode(world, form, failing, rng) for _ in range(rng.randint(3, 7)))


def _transcript(world: World, form: Form, failing: float, rng: random.Random) -> str:
    exercise = _exercise(world, rng)
    lines = [f"{form.question}: {exercise.text}"]
    known = ""
    for fact in exercise.chain:
        call = form.call(form.search, fact.subject)
        plan = f"{known} {rng.choice(LONGER_PLANS).format(s=fact.subject)}".strip()
        while rng.random() < failing:
            seen, again = _failure(world, fact.subject, rng)
            lines += _round(form, plan, call, seen)
            plan = again
        lines += _round(form, plan, call, page_text(world.by_name[fact.subject], rng))
        known = _statement(world, fact, rng)
    end = rng.choice(LONGER_ENDS).format(v=exercise.answer)
    thought = f"{exercise.thought if _is_comparison(exercise) else known} {end}"
    lines += _round(form, thought, form.call(form.finish, exercise.answer), None)
    return "\n".join(lines)


def _failure(world: World, wanted: str, rng: random.Random) -> tuple[str, str]:
    """What a failed search shows, nothing or a wrong page, and what to think of it."""
    if rng.random() < 0.5:
        return rng.choice(FAILURES), rng.choice(AGAINS).format(s=wanted)
    other = rng.choice([entity for entity in world.entities if entity.name != wanted])
    return page_text(other, rng), rng.choice(ASTRAY).format(s=wanted, t=other.name)


def _careful_transcript(world: World, form: Form, failing: float, rng: random.Random) -> str:
    exercise = _exercise(world, rng)
    later = None
    if _is_comparison(exercise):
        exercise = _turned(exercise)
        later = _wants_later(exercise)
    pages = len(exercise.chain)
    lines = [f"{form.question}: {exercise.text}"]
    known = ""
    for page, fact in enumerate(exercise.chain, start=1):
        call = form.call(form.search, fact.subject)
        now = place(page, pages, later=later)
        plan = f"{known} {now} {rng.choice(LONGER_PLANS).format(s=fact.subject)}".strip()
        while rng.random() < failing:
            other = rng.choice([entity for entity in world.entities if entity.name != fact.subject])
            is_found = rng.random() < 0.8
            lines += _round(form, plan, call, page_text(other, rng) if is_found else rng.choice(FAILURES))
            seen = f"{check_page(fact.subject, other.name)} " if is_found else ""
            plan = f"{now} {seen}{rng.choice(AGAINS).format(s=fact.subject)}"
        lines += _round(form, plan, call, page_text(world.by_name[fact.subject], rng))
        known = f"{now} {check_page(fact.subject)} {_statement(world, fact, rng)}"
    weighed = "" if later is None else f" {_weighed(exercise)}"
    end = f"{known}{weighed} {rng.choice(LONGER_ENDS).format(v=exercise.answer)}"
    lines += _round(form, end, form.call(form.finish, exercise.answer), None)
    return "\n".join(lines)


def _is_comparison(exercise: Exercise) -> bool:
    return len(exercise.chain) == 2 and exercise.chain[1].subject != exercise.chain[0].value


def _wants_later(comparison: Exercise) -> bool:
    best = next(fact.value for fact in comparison.chain if fact.subject == comparison.answer)
    return best == max((fact.value for fact in comparison.chain), key=int)


def _weighed(comparison: Exercise) -> str:
    names, years = zip(*((fact.subject, fact.value) for fact in comparison.chain), strict=True)
    return compare_years(names, years, later=_wants_later(comparison))


def _turned(comparison: Exercise) -> Exercise:
    """The same comparison with the two names first, and what is asked last."""
    asked, _, _ = comparison.text.partition(", ")
    first, second = (fact.subject for fact in comparison.chain)
    return replace(comparison, text=f"Of {first} and {second}, {asked[0].lower()}{asked[1:]}?")


def checks_document(rng: random.Random) -> str:
    """Checks of pages and of years over one world."""
    world = fresh_world(rng.choice((PRACTICE, WORLD)), rng, size=3)
    return "\n".join(rng.choice((_page_check, _years_check))(world, rng) for _ in range(rng.randint(5, 12)))


def _page_check(world: World, rng: random.Random) -> str:
    shown = rng.choice(world.entities)
    page = page_text(shown, rng)
    if rng.random() < 0.5:
        return f"{page}\n{check_page(shown.name)}"
    alike = [entity.name for entity in world.of_kind(shown.kind.name) if entity is not shown]
    wanted = rng.choice((_misnamed(shown.name, rng), rng.choice(alike), rng.choice(world.entities).name))
    return f"{page}\n{check_page(wanted, None if wanted == shown.name else shown.name)}"


def _misnamed(name: str, rng: random.Random) -> str:
    """The name with another word in it."""
    words = name.split()
    words[rng.randrange(len(words))] = word(rng)
    return " ".join(words)


def _years_check(world: World, rng: random.Random) -> str:
    comparison = _turned(_comparison(world, rng))
    asked = asked_year(later=_wants_later(comparison))
    return f"{comparison.text} {asked}. {reasoning(world, comparison.chain, rng)} {_weighed(comparison)}"


def drills_document(rng: random.Random) -> str:
    """Several small exercises."""
    return "\n".join(rng.choice((_years_drill, _match_drill))(rng) for _ in range(rng.randint(3, 8)))


def _years_drill(rng: random.Random) -> str:
    near = rng.random() < 0.4
    first = rng.randint(1700, 1999)
    second = first + rng.choice((-1, 1)) * rng.randint(1, 12) if near else rng.randint(1700, 1999)
    if first == second:
        second += 1
    later = rng.random() < 0.5
    winner, loser = _pick(first, second, later=later)
    return rng.choice(
        (
            f"Years {first} and {second}: {_order(str(winner), str(loser), later=later)}",
            f"Of {first} and {second} the {'later' if later else 'earlier'} is {winner}.",
            f"{first}, {second}. {_order(str(winner), str(loser), later=later)}",
        )
    )


def _pick(first: int, second: int, *, later: bool) -> tuple[int, int]:
    """Winner and loser of a comparison."""
    return (max(first, second), min(first, second)) if later else (min(first, second), max(first, second))


def _match_drill(rng: random.Random) -> str:
    """Is a page about what was asked? If not, what is it about?"""
    world = fresh_world(WORLD, rng, size=1)
    shown, wanted = rng.choice(world.entities), rng.choice(world.entities)
    if rng.random() < 0.5:
        wanted = shown
    verdict = f"yes, it is {shown.name}." if wanted is shown else f"no, it is about {shown.name}, not {wanted.name}."
    return f"{page_text(shown, rng)}\nAbout {wanted.name}? {verdict}"


DOCUMENTS: dict[str, Callable[[random.Random], str]] = {
    "pages": pages_document,
    "recall": recall_document,
    "reading": reading_document,
    "episodes": episodes_document,
    "drills": drills_document,
    "transcripts": transcripts_document,
    "forms": forms_document,
    "kindred": kindred_document,
    "careful": careful_document,
    "checks": checks_document,
}
