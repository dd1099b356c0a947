"""tools/noise.py: the same noise for every agent, as often as it says."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.errors import ConfigError
from fireact.tools import Call, NoiseConfig, SearchConfig, add_noise, open_tool
from fireact.tools.noise import noise_generator


class Echo:
    name = "echo"

    def __init__(self):
        self.calls = 0

    async def __call__(self, argument, call):
        self.calls += 1
        return argument


def use(tool, argument, call):
    return asyncio.run(tool(argument, call))


def test_none_replaces_an_observation_and_the_tool_is_not_called():
    echo = Echo()
    assert use(add_noise(echo, NoiseConfig(kind="none", p=1)), "x", Call("q", 0)) == "None"
    assert echo.calls == 0


def test_without_probability_nothing_changes():
    assert use(add_noise(Echo(), NoiseConfig(kind="none", p=0)), "x", Call("q", 0)) == "x"


def test_random_shows_another_page():
    tool = open_tool(SearchConfig())
    noisy = add_noise(tool, NoiseConfig(kind="random", p=1))
    shown = use(noisy, tool.pages[0].title, Call("q", 0))
    assert shown in {page.text for page in tool.pages}
    assert shown != tool.pages[0].text


@given(st.text(), st.integers(0, 20), st.integers(0, 5))
def test_noise_depends_on_seed_question_and_call_alone(question, index, seed):
    config = NoiseConfig(kind="none", seed=seed)
    first, again = (noise_generator(config, Call(question, index)) for _ in range(2))
    assert (first is None) == (again is None)
    if first is not None and again is not None:
        assert first.random() == again.random()


def test_half_of_the_calls_are_noisy_by_default():
    config = NoiseConfig(kind="none")
    noisy = sum(noise_generator(config, Call(str(number), 0)) is not None for number in range(2000))
    assert 930 < noisy < 1070


def test_none_and_random_break_the_same_calls():
    calls = [Call("q", index) for index in range(50)]
    kinds = [NoiseConfig(kind="none"), NoiseConfig(kind="random")]
    broken = [[noise_generator(config, call) is None for call in calls] for config in kinds]
    assert broken[0] == broken[1]


def test_random_noise_needs_a_tool_with_other_observations():
    with pytest.raises(ConfigError, match="'echo' has no random observations; use the noise none"):
        add_noise(Echo(), NoiseConfig(kind="random"))


def test_the_label_names_kind_and_probability():
    assert NoiseConfig(kind="none").label == "none p=0.5"
