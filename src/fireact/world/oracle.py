"""The teacher of the demo: it reads a prompt and writes a reply, as any model does. Pure.

It is not a perfect teacher, and that is its use. It knows only famous facts by heart, so chain of thought goes wrong on
obscure ones (it makes up a value of the right kind and goes on). In a stated share of ReAct episodes it slips: it
takes a wrong value for the answer, or it gets stuck on a misspelt name until a reflection is put before it. It words
its thoughts in varied ways, notices that a search found nothing or the wrong page, and searches again, under the
other name where the question gives two.

What it knows beyond the prompt is the gold chain of the question; what it says is held against the observations.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from fireact.trajectory import LETTERS, Fact, Question
from fireact.world.pages import World
from fireact.world.questions import COUNTS, questions
from fireact.world.thoughts import check_page, compare_years, place

LABEL = re.compile(r"^(Thought|Action|Observation):", re.MULTILINE)
CALL = re.compile(r"^Action: *(\w+)\[(.*)\]", re.MULTILINE)
SEEN = re.compile(r"^Observation: *(.*)$", re.MULTILINE)
REFLECTION = re.compile(r"^Thought: .*\bwithin \d+ steps?\b", re.MULTILINE)

FIRST = ("I should look up {s} first.", "I start with the page of {s}.", "To answer this I need to know about {s}.",
         "Let me search for {s}.")  # fmt: skip
NEXT = ("Now I need to look up {s}.", "Next I search for {s}.", "So I need the page of {s}.")
NOTHING = ("The search found nothing. I will search for {s}.", "There is no result, so I try {s}.",
           "That gave nothing. Let me search for {s}.")  # fmt: skip
WRONG = ("I still need {s}.", "I will search for {s}.", "So I search for {s} again.")
FINAL = ("So the answer is {v}.", "The answer is {v}.", "That means the answer is {v}.")


@dataclass(frozen=True)
class Episode:
    """What the oracle reads in a prompt."""

    style: str
    """`react`, `cot` or `io`, by what the few-shot examples show; `react` without examples."""
    question: Question
    searches: tuple[str, ...]
    observations: tuple[str, ...]
    is_reflecting: bool
    spells_out: bool = True
    """Whether the steps of `thoughts` are said, or only what follows from them."""


def reply(prompt: str, *, error_rate: float, seed: int, spells_out: bool = True) -> str:
    """What the oracle writes after a prompt; the same for the same arguments."""
    episode = read_prompt(prompt)
    if episode is None:
        return "Thought: I do not know this question.\nAction: finish[unknown]"
    episode = replace(episode, spells_out=spells_out)
    rng = random.Random(f"{seed}/{episode.question.task}/{episode.question.id}/{episode.style}")
    if episode.style == "react":
        slip = rng.choice(("wrong", "stuck")) if rng.random() < error_rate else ""
        words = random.Random(f"{rng.random()}/{len(episode.observations)}")
        return _react(episode, slip, words)
    return _by_heart(episode, rng)


def read_prompt(prompt: str) -> Episode | None:
    """The last question of a prompt and what has happened since; None if no task has that question."""
    instruction, _, block = prompt.rpartition("Question: ")
    first_label = LABEL.search(block)
    text = (block[: first_label.start()] if first_label else block).strip()
    question = _by_text().get(text)
    if question is None:
        return None
    return Episode(
        _style(instruction),
        question,
        tuple(argument for tool, argument in CALL.findall(block) if tool != "finish"),
        tuple(seen.strip() for seen in SEEN.findall(block)),
        REFLECTION.search(block) is not None,
    )


def _style(instruction: str) -> str:
    if not instruction.strip() or "\nAction:" in instruction:
        return "react"
    return "cot" if "\nThought:" in instruction else "io"


@lru_cache(maxsize=1)
def _by_text() -> dict[str, Question]:
    every = (question for task, counts in COUNTS.items() for split in counts for question in questions(task, split))
    return {question.full_text: question for question in every}


def _react(episode: Episode, slip: str, rng: random.Random) -> str:
    """One ReAct turn: search for the first subject whose page has not been seen, or finish."""
    chain = episode.question.chain
    missing = [fact for fact in chain if not _has_page(episode, fact.subject)]
    known = chain[: chain.index(missing[0])] if missing else chain
    if slip == "wrong" and known:
        return _finish(_wrong_answer(episode.question, rng), _state_all(known[-1:], rng), rng)
    if missing:
        wanted = _wording(episode, missing[0].subject)
        if slip == "stuck" and not episode.is_reflecting:
            wanted = wanted[:-2] + wanted[-1] + wanted[-2]
        thought = _search_thought(episode, known, wanted, rng)
        return f"Thought: {thought}\nAction: search[{wanted}]"
    ending, answer = conclude(episode.question, [fact.value for fact in chain], spells_out=episode.spells_out)
    shown = () if episode.question.kind == "order" else chain[-1:]
    thought = f"{_place(episode, len(chain))} {_check(episode, chain[-1].subject)} {_state_all(shown, rng)} {ending}"
    if episode.question.kind == "comparison":
        return f"Thought: {_spaced(thought)}\nAction: finish[{answer}]"
    return _finish(answer, _spaced(thought), rng)


def _has_page(episode: Episode, subject: str) -> bool:
    return any(seen.startswith(f"{subject} ") for seen in episode.observations)


def _wording(episode: Episode, subject: str) -> str:
    """What to search for: the name, or the other name of the question after the first has failed."""
    text = episode.question.text
    found = re.search(rf"{re.escape(subject)} \(also known as ([^)]*)\)", text)
    other = found or re.search(rf"((?:The )?[A-Z]\w*(?: [A-Z]\w*)?) \(also known as {re.escape(subject)}\)", text)
    if other is None:
        return subject
    names = (subject, other[1]) if found else (other[1], subject)
    tried = sum(argument in names for argument in episode.searches)
    return names[tried % 2]


def _search_thought(episode: Episode, known: Sequence[Fact], wanted: str, rng: random.Random) -> str:
    now = _place(episode, len(known) + 1)
    if not episode.observations:
        return _spaced(f"{now} {rng.choice(FIRST).format(s=wanted)}")
    title = _title(episode.observations[-1])
    if known and title == known[-1].subject:
        before = f"{_place(episode, len(known))} {_check(episode, title)} {_state_all(known[-1:], rng)}"
        return _spaced(f"{before} {now} {rng.choice(NEXT).format(s=wanted)}")
    if title is None:
        return _spaced(f"{now} {rng.choice(NOTHING).format(s=wanted)}")
    return _spaced(f"{now} {_check(episode, episode.searches[-1], title)} {rng.choice(WRONG).format(s=wanted)}")


def _place(episode: Episode, page: int) -> str:
    if not episode.spells_out:
        return ""
    question = episode.question
    return place(page, len(question.chain), later=_wants_later(question) if question.kind == "comparison" else None)


def _check(episode: Episode, wanted: str, shown: str | None = None) -> str:
    if episode.spells_out:
        return check_page(wanted, shown)
    return "" if shown is None else f"This is about {shown}, not {wanted}."


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _title(observation: str) -> str | None:
    """The title of the page that an observation shows, if it is one."""
    return next((title for title in World.default().by_name if observation.startswith(f"{title} ")), None)


def _state_all(facts: Sequence[Fact], rng: random.Random) -> str:
    world = World.default()
    sentences = []
    for fact in facts:
        relation = world.by_name[fact.subject].kind.relation(fact.relation)
        sentences.append(rng.choice(relation.sentences).format(s=fact.subject, v=fact.value))
    return " ".join(sentences)


def _finish(answer: str, thought: str, rng: random.Random) -> str:
    return f"Thought: {thought} {rng.choice(FINAL).format(v=answer)}\nAction: finish[{answer}]"


def _wrong_answer(question: Question, rng: random.Random) -> str:
    """Something that stands on the way to the answer, but is not it."""
    if question.choices:
        return rng.choice([letter for letter in LETTERS[: len(question.choices)] if letter != question.answer])
    if question.answer in {"yes", "no"}:
        return "no" if question.answer == "yes" else "yes"
    on_the_way = {name for fact in question.chain for name in (fact.subject, fact.value)} - {question.answer}
    return rng.choice(sorted(on_the_way))


def conclude(question: Question, values: Sequence[str], *, spells_out: bool = True) -> tuple[str, str]:
    """A last sentence of reasoning (or none) and the answer, from the values along the chain."""
    if question.kind == "comparison":
        return _compare(question, values, later=_wants_later(question), spells_out=spells_out)
    if question.kind == "order":
        thought, winner = _compare(question, values, later=False, spells_out=spells_out)
        return thought, "yes" if winner == question.chain[0].subject else "no"
    if question.kind == "claim":
        claimed = question.text.rpartition("Is it ")[2].removesuffix("?")
        is_true = claimed == values[-1]
        return f"So it is {values[-1]}, {'' if is_true else 'not '}{claimed}.", "yes" if is_true else "no"
    if question.choices:
        position = question.choices.index(values[-1]) if values[-1] in question.choices else 0
        return f"{values[-1]} is {LETTERS[position]}.", LETTERS[position]
    return "", values[-1]


def _compare(question: Question, years: Sequence[str], *, later: bool, spells_out: bool) -> tuple[str, str]:
    """The comparison of two years in words, and the subject that it chooses."""
    names = [fact.subject for fact in question.chain]
    best, other = sorted(years, key=int, reverse=later)
    winner = names[years.index(best)]
    if spells_out:
        return compare_years(names, years, later=later), winner
    return f"{best} is {'later' if later else 'earlier'} than {other}.", winner


def _wants_later(question: Question) -> bool:
    return question.kind == "comparison" and re.search(r"\b(later|younger|newer)\b", question.text) is not None


def _by_heart(episode: Episode, rng: random.Random) -> str:
    """A reply without tools: right on famous facts, made up on obscure ones."""
    question = episode.question
    facts = _recall(question, rng)
    ending, answer = conclude(question, [fact.value for fact in facts])
    if episode.style == "io":
        return f"Answer: {answer}"
    return f"Thought: {_state_all(facts, rng)} {ending}".rstrip() + f"\nAnswer: {answer}"


def _recall(question: Question, rng: random.Random) -> list[Fact]:
    """The chain as remembered: once a value is made up, the rest follows from it."""
    world = World.default()
    facts: list[Fact] = []
    for fact in question.chain:
        is_next = bool(facts) and facts[-1].value != fact.subject and question.kind not in {"comparison", "order"}
        subject = world.by_name[facts[-1].value if is_next else fact.subject]
        value = subject.facts.get(fact.relation)
        if value is None or not subject.is_famous:
            others = [entity.facts.get(fact.relation) for entity in world.of_kind(subject.kind.name)]
            value = rng.choice([other for other in others if other is not None])
        facts.append(Fact(subject=subject.name, relation=fact.relation, value=value))
    return facts
