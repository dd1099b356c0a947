"""The ReAct text form (Yao et al. 2022, arXiv 2210.03629), both ways, as in the released FireAct data. No I/O.

    Question: Who painted the ceiling?
    Thought: I need to search for the ceiling.
    Action: search[painter of the ceiling]
    Observation: It was painted by ...
    Thought: ...
    Action: finish[...]

A label (`Thought:`, `Action:`, `Observation:`) counts only at the start of a line; lines without one continue what
stands above them. Reading is the inverse of rendering for steps whose fields have no outer white space, no line that
begins with a label, arguments of one line with no second call after them, and an observation or an action in every
step but the last. A thought right ahead of another thought is an injected reflection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fireact.dialects import Author, Move, Piece
from fireact.errors import FormatError
from fireact.trajectory import FINISH, Action, Question, Step

LABEL = re.compile(r"^(Thought|Action|Observation):", re.MULTILINE)
REPEATED_LABEL = re.compile(r"(?:Thought:\s*)+")
CALL = re.compile(r"\s*(?P<tool>[\w.-]+)\s*\[")
INLINE_ACTION = re.compile(r"(?:^|(?<=\s))Action:(?=\s*[\w.-]+\s*\[)")
NEXT_CALL = re.compile(r"\s*(?:[,;&]\s*)?(?:(?:and|then)\s+)*(?:Action:\s*)?[\w.-]+\s*\[")
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Passage:
    """The labelled lines of one turn, as written: thoughts, then at most one action, then observations."""

    thoughts: tuple[str, ...] = ()
    action: str | None = None
    observations: tuple[str, ...] = ()


def split_passages(text: str) -> tuple[str, tuple[Passage, ...]]:
    """Cut a text at its labels into turns.

    Returns:
        The text before the first label, and the turns: one begins with each thought or action that follows an
        action or an observation. Outer white space is dropped.
    """
    lead, *rest = LABEL.split(text)
    fields = [(label, body.strip()) for label, body in zip(rest[::2], rest[1::2], strict=True)]
    return lead.strip(), tuple(_passages(fields))


def _passages(fields: Sequence[tuple[str, str]]) -> Iterator[Passage]:
    thoughts: list[str] = []
    action: str | None = None
    observations: list[str] = []
    for label, body in fields:
        if label != "Observation" and (action is not None or observations):
            yield Passage(tuple(thoughts), action, tuple(observations))
            thoughts, action, observations = [], None, []
        if label == "Thought":
            thoughts.append(body)
        elif label == "Action":
            action = body
        else:
            observations.append(body)
    if thoughts or action is not None or observations:
        yield Passage(tuple(thoughts), action, tuple(observations))


def parse_action(text: str) -> Action | None:
    """Read one action `tool[argument]`; None where the text does not begin with one.

    The argument may hold brackets: it ends at the bracket that closes it or, where brackets do not pair up, at the
    last one of the line. A missing last bracket is forgiven, text after it is dropped, and of several calls the
    first counts. `Finish` is read as `finish`.
    """
    call = CALL.match(text)
    if call is None:
        return None
    tool = FINISH if call["tool"].lower() == FINISH else call["tool"]
    return Action(tool=tool, argument=_argument(text, call.end()).strip())


def _argument(text: str, start: int) -> str:
    """What stands between the opening bracket that ends at `start` and its end."""
    close = _closing_bracket(text, start)
    line_end = text.find("\n", start if close is None else close)
    line_end = len(text) if line_end < 0 else line_end
    if close is not None and NEXT_CALL.match(text, close + 1, line_end):
        return text[start:close]
    last = text.rfind("]", start, line_end)
    return text[start:line_end] if last < 0 else text[start:last]


def _closing_bracket(text: str, start: int) -> int | None:
    depth = 1
    for index in range(start, len(text)):
        if text[index] == "[":
            depth += 1
        elif text[index] == "]":
            depth -= 1
            if depth == 0:
                return index
    return None


def _thought(parts: Sequence[str]) -> str:
    """One thought out of what several labels hold, without labels that the model repeated."""
    bare = (REPEATED_LABEL.sub("", part, count=1) if part.startswith("Thought:") else part for part in parts)
    return "\n".join(part for part in (piece.strip() for piece in bare) if part)


def _split_inline(thought: str) -> tuple[str, Action | None]:
    """An action that stands in the line of the thought, where it has no line of its own."""
    inline = INLINE_ACTION.search(thought)
    if inline is None:
        return thought, None
    return thought[: inline.start()].strip(), parse_action(thought[inline.end() :])


def parse_reply(reply: str) -> Move:
    """Read one reply of a model; see `ReactText.parse`."""
    lead, passages = split_passages(reply.strip())
    first = passages[0] if passages else Passage()
    thought = _thought((lead, *first.thoughts))
    action = None if first.action is None else parse_action(first.action)
    if first.action is None:
        thought, action = _split_inline(thought)
    if not thought and action is None:
        raise FormatError(
            f"expected a line 'Thought: ...' and a line 'Action: tool[argument]', got {reply[:SHOWN_CHARACTERS]!r}"
        )
    return Move(thought=thought, action=action)


def parse_transcript(text: str) -> tuple[str, tuple[Step, ...]]:
    """Read a whole rendered trajectory that has no instruction: the inverse of `ReactText.render`.

    Returns:
        The question with its choices (`Question.full_text`), and the steps without raw replies and usage.

    Raises:
        FormatError: the text does not begin with `Question:`, or an action is not of the form `tool[argument]`.
    """
    lead, passages = split_passages(text)
    if not lead.startswith("Question:"):
        raise FormatError(f"expected a text that begins with 'Question:', got {text[:SHOWN_CHARACTERS]!r}")
    return lead.removeprefix("Question:").strip(), tuple(_step(passage) for passage in passages)


def _step(passage: Passage) -> Step:
    reflection, thoughts = ("", passage.thoughts) if len(passage.thoughts) < 2 else _first(passage.thoughts)
    action = None if passage.action is None else parse_action(passage.action)
    if passage.action is not None and action is None:
        raise FormatError(f"expected 'Action: tool[argument]', got {passage.action[:SHOWN_CHARACTERS]!r}")
    return Step(
        thought="\n".join(thoughts),
        action=action,
        observation="\n".join(passage.observations) if passage.observations else None,
        reflection=reflection,
    )


def _first(parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return parts[0], parts[1:]


def _canonical(step: Step) -> str:
    thought = f"Thought: {step.thought}" if step.thought else "Thought:"
    return thought if step.action is None else f"{thought}\nAction: {step.action.tool}[{step.action.argument}]"


def _reflection(sentence: str) -> Piece:
    return Piece(f"Thought: {sentence}\n")


class ReactText:
    """The dialect `react-text`."""

    name = "react-text"
    stop: tuple[str, ...] = ("\nObservation:",)

    def render(
        self, question: Question, steps: Sequence[Step], *, instruction: str = "", reflection: str | None = None
    ) -> tuple[Piece, ...]:
        """All that the model has read and written so far; see `Dialect.render`.

        A prompt repeats raw replies letter by letter, so what was generated is what is read back; a training example
        has thought and action in their plain form. A reply that could not be parsed stands raw in both.
        """
        is_prompt = reflection is not None
        opening = f"{instruction}\n\n" if instruction else ""
        pieces = [Piece(f"{opening}Question: {question.full_text}\n")]
        for index, step in enumerate(steps):
            if step.reflection:
                pieces.append(_reflection(step.reflection))
            raw = step.reply if is_prompt or step.parse_error else ""
            pieces.append(Piece(raw or _canonical(step), Author.MODEL))
            if step.observation is not None:
                pieces.append(Piece(f"\nObservation: {step.observation}\n"))
            elif is_prompt or index + 1 < len(steps):
                pieces.append(Piece("\n"))
        if reflection:
            pieces.append(_reflection(reflection))
        return tuple(pieces)

    def parse(self, reply: str) -> Move:
        """Read one reply.

        The first action counts, and what the model wrote after it is dropped, as is everything from an observation
        on that it invented. Thought labels may be missing or repeated; an action may stand in the thought's line;
        an action that is not `tool[argument]` is none. For brackets see `parse_action`.

        Raises:
            FormatError: the reply has neither a thought nor an action.
        """
        return parse_reply(reply)
