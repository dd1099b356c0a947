"""Episodes: how they end, what becomes an observation, what becomes a failure, and how many run at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from fireact.dialects import Author, Move, Piece
from fireact.errors import AccessError, BudgetError, BusyError, ConfigError, FormatError, ModelError, ToolError
from fireact.methods import Turn
from fireact.models import Reply, Request
from fireact.progress import Progress
from fireact.rollout import Agent, Episode, Limits, rollout, run_episode
from fireact.tools import Call
from fireact.trajectory import FINISH, Action, Failure, Question, Score, Step, Usage

QUESTION = Question(id="q1", task="world/hop", split="test", text="Who?", answer="Ann")


class Lines:
    """A dialect whose replies are `tool argument`, or `-` for a thought alone."""

    name = "lines"
    stop = ("\n",)

    def render(
        self, question: Question, steps: Sequence[Step], *, instruction: str = "", reflection: str | None = None
    ):
        world = [f"{instruction}{question.text}", *(f"{step.reply}>{step.observation}" for step in steps), reflection]
        return tuple(Piece(text or "", Author.WORLD) for text in world)

    def parse(self, reply: str) -> Move:
        if reply == "-":
            return Move("hm", None)
        tool, space, argument = reply.partition(" ")
        if not space:
            raise FormatError(f"expected 'tool argument', got {reply!r}")
        return Move("", Action(tool=tool, argument=argument))


@dataclass(frozen=True)
class Plain:
    """A method that asks until there is a finish."""

    name: str = "plain"
    uses_tools: bool = True

    def turn(self, steps: Sequence[Step]) -> Turn:
        return Turn(instruction="Do: ", reflection="think" if len(steps) == 1 else "", stop=("!",))

    def read(self, reply: str, turn: Turn, dialect) -> Step:
        try:
            move = dialect.parse(reply)
        except FormatError as error:
            return Step(reply=reply, parse_error=str(error))
        return Step(reply=reply, thought=move.thought, action=move.action, reflection=turn.reflection)

    def answer(self, steps: Sequence[Step]) -> str | None:
        action = steps[-1].action
        return action.argument if action is not None and action.tool == FINISH else None


@dataclass
class Says:
    """A model that says its lines in order and keeps what it was asked."""

    replies: tuple[str | Exception, ...]
    name: str = "says"
    asked: list[Request] = field(default_factory=list)

    async def reply(self, request: Request) -> Reply:
        said = self.replies[len(self.asked) % len(self.replies)]
        self.asked.append(request)
        if isinstance(said, Exception):
            raise said
        return Reply(said, tokens_in=len(request.pieces), tokens_out=2, seconds=0.5)

    async def close(self) -> None: ...


@dataclass
class Echo:
    name: str = "search"
    calls: list[Call] = field(default_factory=list)

    async def __call__(self, argument: str, call: Call) -> str:
        self.calls.append(call)
        if argument == "fail":
            raise ToolError("search is closed")
        return f"found {argument}"


def score(question: Question, answer: str | None) -> Score:
    em = float(answer == question.answer)
    return Score(em=em, f1=em)


def run(*replies: str | Exception, tool: Echo | None = None, **limits):
    tool = tool or Echo()
    model = Says(replies)
    agent = Agent(model, limits.pop("method", Plain()), Lines(), {"search": tool}, **limits)
    trajectory = asyncio.run(run_episode(Episode("e1", agent, QUESTION, score)))
    return trajectory, model


def observations(trajectory) -> list[str | None]:
    return [step.observation for step in trajectory.steps]


def test_an_episode_ends_with_its_answer_and_score():
    trajectory, _ = run("search x", "finish Ann", noise="none p=0.5", seed=7)
    assert (trajectory.end, trajectory.answer, trajectory.is_correct) == ("finished", "Ann", True)
    assert (trajectory.id, trajectory.method, trajectory.dialect, trajectory.model) == ("e1", "plain", "lines", "says")
    assert (trajectory.tools, trajectory.noise, trajectory.seed) == (("search",), "none p=0.5", 7)
    assert observations(trajectory) == ["found x", None]
    assert trajectory.source.producer.startswith("fireact ")


def test_a_wrong_answer_scores_zero():
    trajectory, _ = run("finish Bob")
    assert (trajectory.end, trajectory.score) == ("finished", Score(em=0, f1=0))


def test_a_question_without_gold_answer_has_no_score():
    episode = Episode(
        "e", Agent(Says(("finish x",)), Plain(), Lines()), QUESTION.model_copy(update={"answer": ""}), score
    )
    assert asyncio.run(run_episode(episode)).score is None


def test_the_model_reads_what_dialect_and_method_say():
    _, model = run("search x", "finish Ann", max_tokens=9, temperature=0.5)
    first, second = model.asked
    assert first.text == "Do: Who?"
    assert second.text == "Do: Who?search x>found xthink"
    assert (first.stop, first.max_tokens, first.temperature) == (("\n", "!"), 9, 0.5)


def test_each_turn_has_its_own_seed_and_the_same_one_next_time():
    _, model = run("search x", "finish Ann")
    _, again = run("search x", "finish Ann")
    _, other = run("search x", "finish Ann", seed=1)
    seeds = [request.seed for request in model.asked]
    assert seeds == [request.seed for request in again.asked]
    assert len({*seeds, *(request.seed for request in other.asked)}) == 4


def test_each_step_says_what_its_reply_cost():
    trajectory, _ = run("search x", "finish Ann")
    assert [step.usage.calls for step in trajectory.steps] == [1, 1]
    assert trajectory.usage == Usage(calls=2, tokens_in=2 + 3, tokens_out=4, seconds=1.0)


def test_an_unknown_tool_is_an_observation_with_the_known_ones():
    trajectory, _ = run("lookup x", "finish Ann")
    assert observations(trajectory) == ["error: unknown tool 'lookup'; known: search, finish", None]
    assert trajectory.end == "finished"


def test_a_tool_that_fails_is_an_observation():
    trajectory, _ = run("search fail", "finish Ann")
    assert observations(trajectory) == ["error: search is closed", None]


def test_a_reply_that_cannot_be_read_is_a_step_and_an_observation_with_the_expected_form():
    trajectory, _ = run("what", "finish Ann")
    assert trajectory.steps[0].parse_error == "expected 'tool argument', got 'what'"
    assert observations(trajectory) == ["error: expected 'tool argument', got 'what'", None]


def test_a_thought_without_action_is_an_observation():
    trajectory, _ = run("-", "finish Ann")
    assert observations(trajectory)[0] == "error: expected an action with one of the tools: search, finish"


def test_tool_calls_are_counted_within_the_episode():
    tool = Echo()
    run("search a", "what", "lookup b", "search c", "finish Ann", tool=tool)
    assert tool.calls == [Call("world/hop/test/q1", 0), Call("world/hop/test/q1", 2)]


def test_an_episode_without_answer_stops_at_the_limit_and_scores_zero():
    trajectory, model = run("search x", max_steps=3)
    assert (trajectory.end, trajectory.answer, trajectory.num_turns) == ("step_limit", None, 3)
    assert trajectory.score == Score(em=0, f1=0)
    assert len(model.asked) == 3


def test_a_method_without_tools_has_one_turn():
    trajectory, model = run("-", method=Plain(uses_tools=False))
    assert (trajectory.end, len(model.asked)) == ("step_limit", 1)


def test_a_model_that_does_not_reply_ends_its_episode_and_keeps_the_steps():
    trajectory, _ = run("search x", ModelError("no reply\nafter 60 s"))
    assert (trajectory.end, trajectory.answer, trajectory.num_turns) == ("failed", None, 1)
    assert (trajectory.failure.type, trajectory.failure.message) == ("ModelError", "no reply after 60 s")
    assert trajectory.score == Score(em=0, f1=0)


def test_an_unforeseen_error_ends_its_episode_alone():
    trajectory, _ = run(KeyError("x"))
    assert (trajectory.end, trajectory.failure.type) == ("failed", "KeyError")


def test_text_that_no_file_can_hold_is_replaced():
    trajectory, _ = run("search \ud800", "finish Ann")
    assert trajectory.steps[0].reply == "search ?"


class Slow(Says):
    """Counts how many replies are awaited at once."""

    now = most = 0

    async def reply(self, request: Request) -> Reply:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return await super().reply(request)


def episodes(model, count: int, drawn: list[int] | None = None):
    agent = Agent(model, Plain(), Lines())
    for index in range(count):
        if drawn is not None:
            drawn.append(index)
        yield Episode(f"e{index}", agent, QUESTION, score)


def test_many_episodes_run_at_once_but_no_more_than_asked():
    model, done = Slow(("finish Ann",)), []
    asyncio.run(rollout(episodes(model, 20), done.append, concurrency=6))
    assert sorted(trajectory.id for trajectory in done) == sorted(f"e{index}" for index in range(20))
    assert model.most == 6


def test_questions_are_drawn_only_as_places_become_free():
    drawn: list[int] = []
    ahead: list[int] = []
    sink = [].append

    def watch(trajectory) -> None:
        sink(trajectory)
        ahead.append(len(drawn) - len(ahead))

    asyncio.run(rollout(episodes(Slow(("finish Ann",)), 20, drawn), watch, concurrency=3))
    assert max(ahead) == 3


def test_one_failed_episode_leaves_the_others_alone():
    done = []
    asyncio.run(rollout(episodes(Says(("finish Ann", ModelError("no"))), 10), done.append, concurrency=2))
    assert sorted(trajectory.end for trajectory in done) == ["failed"] * 5 + ["finished"] * 5


def test_a_wrong_setting_ends_the_rollout_with_its_sentence():
    done = []
    model = Says(("finish Ann", ConfigError("no such weights")))
    with pytest.raises(ConfigError, match="no such weights"):
        asyncio.run(rollout(episodes(model, 10), done.append, concurrency=1))
    assert len(done) == 1


def test_an_interrupt_leaves_everything_finished_with_the_sink():
    done = []

    def stop_after_four(trajectory) -> None:
        done.append(trajectory)
        if len(done) == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(rollout(episodes(Slow(("finish Ann",)), 10), stop_after_four, concurrency=2))
    assert 4 <= len(done) < 10


def test_every_end_is_told_to_the_progress():
    progress = Progress("generate", 4)
    asyncio.run(
        rollout(episodes(Says(("finish Ann", ModelError("x"))), 4), lambda _: None, concurrency=2, progress=progress)
    )
    assert (progress.done, progress.notes) == (4, {"correct": 2, "failed": 2})


def test_a_method_without_tools_leaves_no_tool_and_no_noise_in_the_record():
    trajectory, _ = run("finish Ann", method=Plain(uses_tools=False), noise="none p=0.5")
    assert (trajectory.tools, trajectory.noise) == ((), "")
    trajectory, _ = run("finish Ann", noise="none p=0.5")
    assert (trajectory.tools, trajectory.noise) == (("search",), "none p=0.5")


def limited(*replies: str | Exception, model: object = None, **limits):
    agent = Agent(model or Says(replies), Plain(), Lines(), {"search": Echo()}, limits=Limits(**limits))
    return asyncio.run(run_episode(Episode("e1", agent, QUESTION, score)))


def test_an_episode_that_has_used_its_tokens_is_given_up():
    found = limited("search x", tokens=6)
    assert (found.end, found.failure) == ("failed", Failure(type="LimitError", message="more than 6 tokens"))
    assert len(found.steps) == 2


def test_an_episode_that_has_used_its_dollars_is_given_up():
    class Costly(Says):
        async def reply(self, request: Request) -> Reply:
            return replace(await super().reply(request), dollars=0.25)

    found = limited(model=Costly(("search x",)), dollars=0.5)
    assert (found.end, found.failure) == ("failed", Failure(type="LimitError", message="more than $0.5"))
    assert found.usage.dollars == 0.5


def test_an_episode_that_takes_too_long_is_given_up():
    class Stuck(Says):
        async def reply(self, request: Request) -> Reply:
            await asyncio.sleep(10)
            raise AssertionError("never")

    found = limited(model=Stuck(()), seconds=0.01)
    assert (found.end, found.failure) == ("failed", Failure(type="LimitError", message="more than 0.01 seconds"))


def test_every_reply_and_observation_is_noted_as_it_comes():
    noted = []
    agent = Agent(Says(("search x", "finish Ann")), Plain(), Lines(), {"search": Echo()})
    found = asyncio.run(run_episode(Episode("e1", agent, QUESTION, score), noted.append))
    assert [(line.id, line.index, line.observation) for line in noted] == [
        ("e1", 0, None),
        ("e1", 0, "found x"),
        ("e1", 1, None),
    ]
    assert noted[0].step == found.steps[0].model_copy(update={"observation": None})
    assert noted[2].step == found.steps[1]


@pytest.mark.parametrize("kept", range(4))
def test_an_episode_goes_on_from_what_was_noted_and_asks_for_nothing_twice(kept):
    noted = []
    whole = asyncio.run(run_episode(begun_episode(("search x", "search y", "finish Ann")), noted.append))
    known = noted[:kept]
    steps = [line.step for line in known if line.step is not None]
    for line in known:
        if line.observation is not None:
            steps[line.index] = steps[line.index].model_copy(update={"observation": line.observation})
    rest = begun_episode(("search x", "search y", "finish Ann")[len(steps) :], tuple(steps))
    found = asyncio.run(run_episode(rest))
    assert found.steps == whole.steps
    assert len(rest.agent.model.asked) == 3 - len(steps)
    assert [call.index for call in rest.agent.tools["search"].calls] == list(
        range(sum(step.observation is not None for step in steps), 2)
    )


def begun_episode(replies: tuple[str, ...], steps: tuple[Step, ...] = ()) -> Episode:
    agent = Agent(Says(replies), Plain(), Lines(), {"search": Echo()})
    return Episode("e1", agent, QUESTION, score, steps)


def test_an_episode_whose_answer_was_noted_asks_nothing_more():
    step = Step(reply="finish Ann", action=Action(tool=FINISH, argument="Ann"))
    episode = begun_episode((), (step,))
    found = asyncio.run(run_episode(episode))
    assert (found.answer, found.is_correct, episode.agent.model.asked) == ("Ann", True, [])


def test_failures_of_the_model_one_after_the_other_end_the_rollout_and_are_not_handed_on():
    done = []
    model = Says(("finish Ann", *[BusyError("gone")] * 50))
    with pytest.raises(
        ModelError, match="16 episodes in a row failed, the last with BusyError: gone; they are not coun"
    ):
        asyncio.run(rollout(episodes(model, 40), done.append, concurrency=2))
    assert [trajectory.end for trajectory in done] == ["finished"]


def test_failures_between_episodes_that_go_well_are_handed_on():
    done = []
    model = Says((*[BusyError("gone")] * 15, "finish Ann"))
    asyncio.run(rollout(episodes(model, 40), done.append, concurrency=1))
    assert [trajectory.end for trajectory in done].count("failed") == 38
    assert len(done) == 40


def test_requests_that_no_model_takes_end_a_rollout_in_which_nothing_went_well():
    with pytest.raises(ModelError, match="16 episodes in a row failed"):
        asyncio.run(rollout(episodes(Says((ModelError("what"),)), 40), lambda _: None, concurrency=4))


@pytest.mark.parametrize("error", [AccessError("wrong key"), BudgetError("used up")])
def test_what_no_episode_can_do_without_ends_the_rollout_at_once(error):
    done, model = [], Says(("finish Ann", error))
    with pytest.raises(type(error), match=str(error)):
        asyncio.run(rollout(episodes(model, 40), done.append, concurrency=1))
    assert (len(done), len(model.asked)) == (1, 2)


def test_no_more_episodes_are_drawn_than_are_in_flight():
    drawn = 0

    def count():
        nonlocal drawn
        for episode in episodes(Slow(("finish Ann",)), 100):
            drawn += 1
            yield episode

    most_ahead, done = 0, []

    def sink(trajectory):
        nonlocal most_ahead
        done.append(trajectory.id)
        most_ahead = max(most_ahead, drawn - len(done))

    asyncio.run(rollout(count(), sink, concurrency=5))
    assert len(done) == 100
    assert most_ahead <= 5
