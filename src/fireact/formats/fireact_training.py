"""The released FireAct training files in both forms: Alpaca rows in blocks, and shuffled chat messages.

Neither form names task or method; they are told from what the rows hold:

- MMLU questions begin with `Question:`. ReAct and Reflexion rows of HotpotQA have the reward `True` or `False`, those
  of StrategyQA (and MMLU) `1` or `0`; so have all CoT rows.
- Reflexion rows hold the injected reflection sentence.
- Alpaca: CoT outputs lack the last line break, and the CoT rows stand in the order HotpotQA, MMLU, StrategyQA.
- Chat: a row of one turn with the reward `1` can be CoT or ReAct. A file in which no row is sure to be CoT has none;
  otherwise it is taken for CoT. Its task, if not MMLU, is told from the answer: yes and no for StrategyQA. What is
  guessed so is noted in the trajectory's source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fireact import __version__
from fireact.errors import DataError
from fireact.formats.episodes import Episode, make_question, read_episode
from fireact.formats.files import Imported, Row, field, keep_good, name_of, read_json, read_json_lines
from fireact.trajectory import Score, Source, Trajectory

TEACHER = "gpt-4"
SPLIT = "train"
GUESSED_METHOD = "method guessed: in this form a one-turn ReAct row looks the same"
GUESSED_TASK = "task guessed from the answer"


@dataclass(frozen=True)
class Entry:
    """One row, read, before its task and method are known."""

    row: Row
    episode: Episode
    ends_with_line_break: bool = True
    """Meaningful in the Alpaca form only."""

    @property
    def is_choice(self) -> bool:
        return self.episode.asked.has_choice_prefix

    @property
    def has_word_reward(self) -> bool:
        """The reward is `True` or `False`, as the official HotpotQA task writes it."""
        return self.episode.reward in ("True", "False")

    @property
    def has_one_turn(self) -> bool:
        return len(self.episode.steps) == 1

    @property
    def is_yes_no(self) -> bool:
        return (self.episode.answer or "").lower().strip(". ") in ("yes", "no")


@dataclass(frozen=True)
class Kind:
    """Task and method of a row."""

    task: str
    method: str
    notes: tuple[str, ...] = ()


def read_fireact_alpaca(path: str | Path) -> Imported:
    """The trajectories of `data/finetune/alpaca_format/*.json`: rows of instruction, input (empty) and output.

    Raises:
        DataError: the file is not a JSON list of rows. A row that cannot be read is a problem of the result.
    """
    path = Path(path)
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of rows, got {type(rows).__name__}; is it another format?")
    places = [Row(index, f"{path}: row {index}", value) for index, value in enumerate(rows)]
    entries, problems = keep_good(places, _alpaca_entry)
    return _imported(path, entries, alpaca_kinds(entries), problems)


def read_fireact_gpt(path: str | Path) -> Imported:
    """The trajectories of `data/finetune/gpt_format/*.jsonl`: lines of chat messages.

    Raises:
        DataError: the file cannot be read. A line that cannot be read is a problem of the result.
    """
    path = Path(path)
    rows, bad_lines = read_json_lines(path)
    entries, bad_rows = keep_good(rows, _gpt_entry)
    return _imported(path, entries, gpt_kinds(entries), bad_lines + bad_rows)


def _imported(path: Path, entries: Sequence[Entry], kinds: Sequence[Kind], problems: list[DataError]) -> Imported:
    trajectories = [_trajectory(path, entry, kind) for entry, kind in zip(entries, kinds, strict=True)]
    return Imported(tuple(trajectories), tuple(problems))


def _alpaca_entry(row: Row) -> Entry:
    output = field(row, "output", str)
    return _entry(row, f"{field(row, 'instruction', str)}\n{output}", ends_with_line_break=output.endswith("\n"))


def _gpt_entry(row: Row) -> Entry:
    messages = [Row(row.index, row.place, message) for message in field(row, "messages", list)]
    return _entry(row, "\n".join(field(message, "content", str) for message in messages))


def _entry(row: Row, text: str, *, ends_with_line_break: bool = True) -> Entry:
    episode = read_episode(text)
    if not episode.asked.text:
        raise DataError(f"{row.place}: the question is empty; drop the row")
    if not episode.steps:
        raise DataError(f"{row.place}: no line begins with Thought: or Action:; is it another format?")
    return Entry(row, episode, ends_with_line_break)


def alpaca_kinds(entries: Sequence[Entry]) -> list[Kind]:
    """Task and method of every row of one file, in block order."""
    kinds: list[Kind] = []
    cot_task = "hotpotqa"
    for entry in entries:
        method = _alpaca_method(entry)
        if entry.is_choice:
            # Among the CoT blocks, MMLU stands between HotpotQA and StrategyQA.
            cot_task = "strategyqa" if method == "cot" else cot_task
            kinds.append(Kind("mmlu", method))
        elif method == "cot":
            kinds.append(Kind(cot_task, method))
        else:
            kinds.append(Kind("hotpotqa" if entry.has_word_reward else "strategyqa", method))
    return kinds


def _alpaca_method(entry: Entry) -> str:
    if entry.episode.has_reflection:
        return "reflexion"
    return "cot" if entry.has_one_turn and not entry.ends_with_line_break else "react"


def gpt_kinds(entries: Sequence[Entry]) -> list[Kind]:
    """Task and method of every row of one file, in any order; guesses are noted."""
    has_strategyqa = any(_is_strategyqa(entry) for entry in entries)
    has_cot = any(_is_open_one_turn(entry) and not (has_strategyqa and entry.is_yes_no) for entry in entries)
    return [_gpt_kind(entry, has_strategyqa=has_strategyqa, has_cot=has_cot) for entry in entries]


def _is_strategyqa(entry: Entry) -> bool:
    """Certain to be StrategyQA: more than one turn, and the reward as a number."""
    return not (entry.is_choice or entry.has_word_reward or entry.has_one_turn)


def _is_open_one_turn(entry: Entry) -> bool:
    """One turn, no choices, and the reward as a number: CoT of HotpotQA, or CoT or ReAct of StrategyQA."""
    return entry.has_one_turn and not (entry.is_choice or entry.has_word_reward)


def _gpt_kind(entry: Entry, *, has_strategyqa: bool, has_cot: bool) -> Kind:
    notes: tuple[str, ...] = ()
    task = "mmlu" if entry.is_choice else "hotpotqa" if entry.has_word_reward else "strategyqa"
    if _is_open_one_turn(entry):
        task = "strategyqa" if has_strategyqa and entry.is_yes_no else "hotpotqa"
        notes += (GUESSED_TASK,) if has_strategyqa and has_cot else ()
    if entry.episode.has_reflection:
        return Kind(task, "reflexion", notes)
    if not has_cot or not entry.has_one_turn or entry.has_word_reward:
        return Kind(task, "react", notes)
    return Kind(task, "cot", notes if task == "hotpotqa" else (*notes, GUESSED_METHOD))


def _trajectory(path: Path, entry: Entry, kind: Kind) -> Trajectory:
    episode, index = entry.episode, entry.row.index
    reward = episode.reward_value
    notes = (*episode.notes, *kind.notes)
    if reward is None:
        notes += (f"no reward is known from {episode.reward!r}",)
    return Trajectory(
        id=f"{path.stem}/{index}",
        question=make_question(episode.asked, task=kind.task, split=SPLIT),
        method=kind.method,
        dialect="react-text",
        model=TEACHER,
        tools=() if kind.method == "cot" else ("search",),
        steps=episode.steps,
        answer=episode.answer,
        end="step_limit" if episode.answer is None else "finished",
        score=None if reward is None else Score(em=reward, f1=reward),
        source=Source(producer=f"fireact {__version__}", file=name_of(path), index=index, notes=notes),
    )
