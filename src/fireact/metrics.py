"""Scores of answers, and figures over many trajectories: EM, F1, choice and yes/no accuracy, turns. Pure.

Exact match and F1 follow the official HotpotQA evaluation script (`hotpot_evaluate_v1.py`, Yang et al. 2018), which
the official FireAct tasks use for HotpotQA and Bamboogle. StrategyQA and MMLU follow the official FireAct tasks, which
look only at how an answer begins; the strict score beside them wants the whole answer.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from fireact.errors import ConfigError, DataError
from fireact.trajectory import Score, Step, Trajectory

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
VERDICTS = frozenset({"yes", "no", "noanswer"})
"""Answers that earn no F1 unless they match in full."""

THOUGHT_LABEL = re.compile(r"^Thought:", re.MULTILINE)


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, the words a, an, the, and surplus white space; in this order.

    >>> normalize_answer("The  Beatles' (U.S.) tour")
    'beatles us tour'
    """
    bare = text.lower().translate(WITHOUT_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if both are equal once normalized, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(gold))


def f1(prediction: str, gold: str) -> float:
    """Harmonic mean of word precision and recall in [0, 1], each word counted as often as both have it.

    0.0 where either is `yes`, `no` or `noanswer` and the other is not the same, and where no word is shared; two
    empty answers share none.
    """
    predicted, expected = normalize_answer(prediction), normalize_answer(gold)
    if predicted != expected and (predicted in VERDICTS or expected in VERDICTS):
        return 0.0
    words, gold_words = predicted.split(), expected.split()
    num_shared = (Counter(words) & Counter(gold_words)).total()
    if num_shared == 0:
        return 0.0
    precision, recall = num_shared / len(words), num_shared / len(gold_words)
    return (2 * precision * recall) / (precision + recall)


def score_words(answer: str | None, golds: Sequence[str]) -> Score:
    """EM and F1 against the best of one or more gold wordings (HotpotQA, Bamboogle); no answer scores 0."""
    if answer is None:
        return Score(em=0.0, f1=0.0)
    return Score(
        em=max((exact_match(answer, gold) for gold in golds), default=0.0),
        f1=max((f1(answer, gold) for gold in golds), default=0.0),
    )


def score_yes_no(answer: str | None, gold: str) -> Score:
    """StrategyQA: right if the answer in lower case begins with the gold `yes` or `no`; strict: if it is that word."""
    return _score_beginning(answer, gold)


def score_choice(answer: str | None, gold: str) -> Score:
    """MMLU: right if the answer in lower case begins with the gold letter; strict: if it is that letter.

    So `An eagle` scores 1 where A is right, and 0 in strict terms.
    """
    return _score_beginning(answer, gold)


def _score_beginning(answer: str | None, gold: str) -> Score:
    loose = float(answer is not None and bool(gold) and answer.lower().startswith(gold.lower()))
    strict = float(answer is not None and _bare(answer) == _bare(gold) != "")
    return Score(em=loose, f1=loose, strict=strict)


def _bare(text: str) -> str:
    # Not `normalize_answer`: it would drop the choice A as an article.
    return text.lower().translate(WITHOUT_PUNCTUATION).strip()


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the values themselves (divided by their number, not by one less)."""

    mean: float
    sd: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation; both 0 for no values."""
    if not values:
        return Spread(0.0, 0.0)
    mean = sum(values) / len(values)
    return Spread(mean, sqrt(sum((value - mean) ** 2 for value in values) / len(values)))


def turns_by_message(trajectory: Trajectory) -> int:
    """Turns as replies of the model."""
    return trajectory.num_turns


def turns_by_label(trajectory: Trajectory) -> int:
    """Turns as `Thought:` labels at the start of a line, as the paper counts them; one reply may hold many."""
    return sum(_num_thought_labels(step) for step in trajectory.steps)


def _num_thought_labels(step: Step) -> int:
    if step.reply:
        return len(THOUGHT_LABEL.findall(step.reply))
    return int(bool(step.thought or step.reflection))


def score_lines(trajectories: Sequence[Trajectory], asked: int | None = None) -> tuple[str, ...]:
    """The figures of one run of one agent, a line each: the name, a space, the value.

    `em` and `f1` (and `strict`, where a task has such a score) are per cent of the questions asked, so that a question
    without a trajectory counts as wrong, as in the official script; `finished` is a number of episodes;
    `turns_by_message` and `turns_by_label` are mean and standard deviation over finished episodes only, as in the
    paper's Table 4.

    Args:
        asked: questions put to the agent; None takes the number of trajectories.

    Raises:
        DataError: there are no trajectories.
        ConfigError: fewer questions were asked than there are trajectories.
    """
    if not trajectories:
        raise DataError("no trajectories to score; import or evaluate some first")
    if asked is not None and asked < len(trajectories):
        raise ConfigError(f"--asked {asked} is less than the {len(trajectories)} trajectories in the file")
    num_asked = asked or len(trajectories)
    scores = [trajectory.score for trajectory in trajectories if trajectory.score is not None]
    finished = [trajectory for trajectory in trajectories if trajectory.end == "finished"]
    by_message = spread([turns_by_message(trajectory) for trajectory in finished])
    by_label = spread([turns_by_label(trajectory) for trajectory in finished])
    stricts = [score.em if score.strict is None else score.strict for score in scores]
    has_strict = any(score.strict is not None for score in scores)
    return (
        f"em {100 * sum(score.em for score in scores) / num_asked:.2f}",
        f"f1 {100 * sum(score.f1 for score in scores) / num_asked:.2f}",
        f"finished {len(finished)} of {num_asked}",
        f"turns_by_message {by_message.mean:.2f} {by_message.sd:.2f}",
        f"turns_by_label {by_label.mean:.2f} {by_label.sd:.2f}",
        *([f"strict {100 * sum(stricts) / num_asked:.2f}"] if has_strict else []),
    )
