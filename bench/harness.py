"""The overhead of agent harnesses, side by side: fireact, smolagents, LangGraph, DSPy, inspect_ai and verifiers.

    python bench/harness.py [--quick] [--peers langgraph verifiers]

Every side plays the same episodes, of five tool calls and a finish, against a server on loopback that answers after no
time, 50 ms or 1 s, with 1 to 1,024 episodes at once. A cell of the table is one process of a side, in a virtual
environment of its own, and one process of the server (`tests/fake_server.py`); the sides take turns within a cell, so
that what else the machine does meets all of them. A side counts only if all its answers are right and the server has
seen exactly the calls that such episodes need. How a side is asked, and why so, stands in its `bench/peers/run_*.py`.

Progress goes to stderr; stdout gets the table and, as its last line, JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
SERVER = ROOT / "tests/fake_server.py"
NUM_SEARCHES = 5
NUM_STEPS = NUM_SEARCHES + 1
LATENCIES = (0.0, 0.05, 1.0)
"""Seconds before each reply."""
CONCURRENCIES = (1, 16, 64, 256, 1024)
IDEAL = (1.0, 256)
"""The latency and concurrency at which `ideal_share` is taken."""
NUM_REPEATS = 3
"""Of the cells that the ratio is taken from."""
MEMORY_EPISODES = (1_000, 20_000)
MOST_SECONDS = 20.0
"""That a cell may be expected to take; a side too slow for it plays fewer episodes."""
PATIENCE = 240.0
"""Seconds after which a cell is given up."""
QUIET = {
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
"""Nothing is asked for elsewhere while the clock runs."""


@dataclass(frozen=True)
class Side:
    """One harness."""

    name: str
    packages: tuple[str, ...]
    """What pip installs for it; nothing for fireact, which runs in the environment of this script."""
    speed: float
    """Episodes a second, roughly, until it has been measured."""
    calls: int = NUM_STEPS
    """To the model, in one episode."""
    note: str = ""


FIREACT = Side("fireact", (), speed=300.0)
SIDES = (
    FIREACT,
    Side("smolagents", ("smolagents[openai]==1.26.0",), speed=20.0, note="ToolCallingAgent; threads, it has no async"),
    Side(
        "langgraph",
        ("langgraph==1.2.24", "langchain==1.5.2", "langchain-openai==1.7.4"),
        speed=20.0,
        note="create_agent, async",
    ),
    Side(
        "dspy",
        ("dspy==3.4.1",),
        speed=15.0,
        calls=NUM_STEPS + 1,
        note="ReAct, async; 7 calls in an episode, since it asks for the answer after the finish",
    ),
    Side(
        "inspect_ai",
        ("inspect-ai==0.3.285", "openai==3.57.0"),
        speed=10.0,
        note="react() in eval_async, samples not logged",
    ),
    Side("verifiers", ("verifiers==0.3.1",), speed=30.0, note="ToolEnv, async; 0.4 has none, and starts a process"),
)


@dataclass(frozen=True)
class Cell:
    """What one side did at one latency and concurrency."""

    side: str
    latency: float
    concurrency: int
    episodes: int
    seconds: float
    cpu: float
    """Seconds of the side's own process, user and system."""
    memory_mib: float
    """Its peak."""
    calls: int
    """To the model, in these episodes."""
    server_share: float
    """Of the time, in which the server was at work; near 1 it is the limit."""

    @property
    def calls_per_s(self) -> float:
        return self.calls / self.seconds

    @property
    def ms_per_step(self) -> float:
        """Of the side's CPU, for one call to the model and what belongs to it."""
        return self.cpu * 1e3 / self.calls

    @property
    def ideal_share(self) -> float | None:
        """Of the speed that latency alone would allow; None without latency."""
        return self.calls * self.latency / min(self.concurrency, self.episodes) / self.seconds or None


@dataclass(frozen=True)
class Missing:
    """A cell that could not be measured."""

    side: str
    latency: float
    concurrency: int
    reason: str


class CannotError(Exception):
    """Why a side cannot be measured, in one line."""


def prepare(side: Side, folder: Path) -> Path:
    """The python of a side, in a virtual environment that is made where there is none with these packages.

    Raises:
        CannotError: it cannot be made.
    """
    if not side.packages:
        return Path(sys.executable)
    home = folder / side.name
    python, done = home / "bin/python", home / "packages.json"
    wanted = json.dumps(side.packages)
    if done.exists() and done.read_text() == wanted:
        return python
    say(f"{side.name}: installing {' '.join(side.packages)} into {home}")
    for command in ([sys.executable, "-m", "venv", home], [python, "-m", "pip", "install", "-q", *side.packages]):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise CannotError(f"cannot be installed: {last_line(ended.stderr)}")
    done.write_text(wanted)
    return python


def prepare_all(sides: Sequence[Side], folder: Path) -> tuple[dict[str, Path], list[Missing]]:
    """The python of each side, and the sides that have none."""
    pythons, missing = {}, []
    for side in sides:
        try:
            pythons[side.name] = prepare(side, folder)
        except CannotError as error:
            missing.append(Missing(side.name, 0.0, 0, str(error)))
    return pythons, missing


@contextmanager
def serve(latency: float) -> Iterator[tuple[str, dict[str, float]]]:
    """A server in a process of its own: its address, and what it has seen, filled in when it ends."""
    command = [sys.executable, SERVER, "--latency", str(latency), "--searches", str(NUM_SEARCHES)]
    seen: dict[str, float] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), seen
        finally:
            process.stdin.close()
            seen.update(json.loads(process.stdout.readline()))


def measure(side: Side, python: Path, latency: float, concurrency: int, episodes: int) -> Cell:
    """Let a side play so many episodes.

    Raises:
        CannotError: it did not end, or did other work than the others.
    """
    command = [python, PEERS / f"run_{side.name}.py"]
    with serve(latency) as (url, seen):
        told = run([*command, url, str(concurrency), str(episodes)], side)
    expected = side.calls * (episodes + told["warm"])
    if told["wrong"] or seen["calls"] != expected:
        raise CannotError(f"other work: {told['wrong']} wrong answers, {seen['calls']:,} calls and not {expected:,}")
    calls = side.calls * episodes
    return Cell(
        side=side.name,
        latency=latency,
        concurrency=concurrency,
        episodes=episodes,
        seconds=told["seconds"],
        cpu=told["cpu"],
        memory_mib=told["memory_mib"],
        calls=calls,
        server_share=seen["cpu"] * calls / expected / told["seconds"],
    )


def run(command: Sequence[str | Path], side: Side) -> dict[str, float]:
    """The JSON of a side's last line."""
    environment = os.environ | QUIET
    if side.packages:
        environment.pop("PYTHONPATH", None)
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise CannotError(f"not done within {PATIENCE:.0f} s") from None
    if ended.returncode:
        raise CannotError(last_line(ended.stderr))
    return json.loads(ended.stdout.splitlines()[-1])


def choose_episodes(side: Side, speed: float, latency: float, concurrency: int, seconds: float) -> int:
    """As many as fill the time, in whole waves; fewer than one wave only where that would take too long.

    Args:
        speed: episodes a second that the side manages where it need not wait.
    """
    rate = min(speed, concurrency / (side.calls * latency)) if latency else speed
    waves = max(1, round(rate * seconds / concurrency))
    return max(1, min(waves * concurrency, round(rate * max(seconds, MOST_SECONDS))))


class Bench:
    """Measures cells one after the other, and remembers how fast each side is."""

    def __init__(self, pythons: Mapping[str, Path]) -> None:
        self.pythons = pythons
        self.speeds: dict[tuple[str, int], float] = {}
        """Episodes a second without latency, by side and concurrency."""

    def expect_speed(self, side: Side, concurrency: int) -> float:
        """As measured with so many at once, else with the next fewer."""
        known = [number for name, number in self.speeds if name == side.name and number <= concurrency]
        return self.speeds[side.name, max(known)] if known else side.speed

    def play(self, side: Side, latency: float, concurrency: int, seconds: float) -> Cell | Missing:
        """One cell that takes about so many seconds, or what was in its way."""
        episodes = choose_episodes(side, self.expect_speed(side, concurrency), latency, concurrency, seconds)
        return self.play_episodes(side, latency, concurrency, episodes)

    def play_episodes(self, side: Side, latency: float, concurrency: int, episodes: int) -> Cell | Missing:
        where = f"{side.name}, {latency:g} s, {concurrency} at once, {episodes:,} episodes"
        try:
            cell = measure(side, self.pythons[side.name], latency, concurrency, episodes)
        except CannotError as error:
            say(f"{where}: {error}")
            return Missing(side.name, latency, concurrency, str(error))
        say(f"{where}: {cell.calls_per_s:,.0f} calls/s, {cell.ms_per_step:.2f} ms of CPU a step")
        if not latency:
            self.speeds[side.name, concurrency] = cell.episodes / cell.seconds
        return cell

    def compare(self, cells: Sequence[Cell | Missing], seconds: float, repeats: int) -> dict[str, Cell]:
        """For each side its best cell without latency, played again; of these cells the one of median speed."""
        best = {side.name: find_best(cells, side) for side in SIDES}
        again: dict[str, list[Cell]] = {name: [] for name, cell in best.items() if cell is not None}
        for _ in range(repeats):
            for side in SIDES:
                first = best[side.name]
                cell = first and self.play(side, 0.0, first.concurrency, seconds)
                if isinstance(cell, Cell):
                    again[side.name].append(cell)
        return {
            name: sorted(found, key=lambda cell: cell.calls_per_s)[(len(found) - 1) // 2] if found else best[name]
            for name, found in again.items()
        }


def find_best(cells: Sequence[Cell | Missing], side: Side) -> Cell | None:
    """The cell without latency in which a side was fastest; None where it has none."""
    own = [cell for cell in cells if isinstance(cell, Cell) and cell.side == side.name and not cell.latency]
    return max(own, key=lambda cell: cell.calls_per_s, default=None)


def measure_in_process() -> float:
    """Milliseconds of CPU that fireact takes for one step with a model in its own process."""
    return run([sys.executable, PEERS / "run_fireact.py", "--in-process"], FIREACT)["ms_per_step"]


def measure_memory(bench: Bench) -> dict[str, float | None]:
    """fireact's peak memory in MiB, for few and for many questions."""
    cells = {number: bench.play_episodes(FIREACT, 0.0, 64, number) for number in MEMORY_EPISODES}
    return {
        f"memory_mib_{number}": round(cell.memory_mib, 1) if isinstance(cell, Cell) else None
        for number, cell in cells.items()
    }


def summarize(best: Mapping[str, Cell], cells: Sequence[Cell | Missing]) -> dict[str, object]:
    """The figures that are held against goals."""
    peers = [cell for name, cell in best.items() if name != FIREACT.name]
    own = best.get(FIREACT.name)
    ratios: dict[str, float | None] = {"calls_per_s_ratio_best_peer": None, "cpu_ratio_best_peer": None}
    if own and peers:
        ratios["calls_per_s_ratio_best_peer"] = own.calls_per_s / max(peer.calls_per_s for peer in peers)
        ratios["cpu_ratio_best_peer"] = min(peer.ms_per_step for peer in peers) / own.ms_per_step
    at_ideal = [cell for cell in cells if cell.side == FIREACT.name and (cell.latency, cell.concurrency) == IDEAL]
    share = at_ideal[0].ideal_share if at_ideal and isinstance(at_ideal[0], Cell) else None
    return {
        **{name: ratio and round(ratio, 2) for name, ratio in ratios.items()},
        "ideal_share": share and round(share, 4),
        "best": {name: as_row(cell) for name, cell in best.items()},
    }


def as_row(cell: Cell | Missing) -> dict[str, object]:
    """A cell with all that is derived from it, as JSON has it."""
    if isinstance(cell, Missing):
        return asdict(cell)
    derived = {
        "episodes_per_s": cell.episodes / cell.seconds,
        "calls_per_s": cell.calls_per_s,
        "ms_per_step": cell.ms_per_step,
        "ideal_share": cell.ideal_share,
    }
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in (asdict(cell) | derived).items()
    }


HEAD = ("latency", "at once", "side", "episodes", "episodes/s", "calls/s", "ms CPU/step", "of ideal", "MiB", "server")


def render_table(cells: Sequence[Cell | Missing]) -> str:
    """All cells, aligned under their heads."""
    rows = [render_row(cell) for cell in cells]
    full = [HEAD, *(row for row in rows if len(row) == len(HEAD))]
    widths = [max(len(row[column]) for row in full) for column in range(len(HEAD))]
    return "\n".join(align(row, widths) for row in (HEAD, *rows))


def render_row(cell: Cell | Missing) -> tuple[str, ...]:
    begin = (f"{cell.latency:g} s", str(cell.concurrency), cell.side)
    if isinstance(cell, Missing):
        return (*begin, cell.reason)
    reached = "" if cell.episodes >= cell.concurrency else f" ({cell.episodes})"
    return (
        begin[0],
        f"{begin[1]}{reached}",
        cell.side,
        f"{cell.episodes:,}",
        f"{cell.episodes / cell.seconds:,.1f}",
        f"{cell.calls_per_s:,.0f}",
        f"{cell.ms_per_step:.2f}",
        "" if cell.ideal_share is None else f"{cell.ideal_share:.1%}",
        f"{cell.memory_mib:,.0f}",
        f"{cell.server_share:.0%}",
    )


def align(row: Sequence[str], widths: Sequence[int]) -> str:
    """Names and reasons to the left, figures to the right."""
    parts = (
        text.ljust(width) if column in (2, 3) and not text[:1].isdigit() else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=False))
    )
    return "  ".join(parts).rstrip()


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:160] if lines else "no reason given"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def allow_connections() -> None:
    """A thousand episodes at once hold more files open than some systems allow at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def play_all(bench: Bench, is_quick: bool) -> list[Cell | Missing]:
    """All cells, the sides taking turns."""
    latencies, concurrencies, seconds = ((0.0,), (1, 64), 1.0) if is_quick else (LATENCIES, CONCURRENCIES, 4.0)
    cells = [
        bench.play(side, latency, concurrency, seconds_for(side, latency, concurrency, seconds))
        for latency in latencies
        for concurrency in concurrencies
        for side in SIDES
        if side.name in bench.pythons
    ]
    if is_quick:
        cells.append(bench.play(FIREACT, *IDEAL, seconds=12.0))
    return cells


def seconds_for(side: Side, latency: float, concurrency: int, seconds: float) -> float:
    """Longer where replies take long: one wave, and twelve in fireact's cell that is held against the ideal."""
    waves = 12 if (latency, concurrency) == IDEAL and side is FIREACT else 1
    return max(seconds, waves * side.calls * latency)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute: 1 and 64 at once, without latency")
    parser.add_argument("--peers", nargs="*", choices=[side.name for side in SIDES[1:]], help="these peers, not all")
    parser.add_argument(
        "--venvs", type=Path, default=Path.home() / ".cache/fireact-bench", help="where the environments of peers are"
    )
    given = parser.parse_args()
    allow_connections()
    begun = time.monotonic()
    sides = [side for side in SIDES if given.peers is None or side is FIREACT or side.name in given.peers]
    pythons, missing = prepare_all(sides, given.venvs)
    bench = Bench(pythons)
    cells = missing + play_all(bench, given.quick)
    best = bench.compare(cells, seconds=4.0, repeats=0 if given.quick else NUM_REPEATS)
    figures = summarize(best, cells)
    figures["inprocess_ms_per_step"] = round(measure_in_process(), 4)
    figures |= {f"memory_mib_{number}": None for number in MEMORY_EPISODES} if given.quick else measure_memory(bench)
    median = "" if given.quick else f", median of {NUM_REPEATS} runs"
    notes = "\n".join(f"{side.name}: {' '.join(side.packages)}; {side.note}" for side in sides if side is not FIREACT)
    print(f"{render_table(cells)}\n\nbest cell of each side without latency{median}:\n")
    print(f"{render_table(list(best.values()))}\n\n{notes}")
    figures |= {
        "seconds": round(time.monotonic() - begun),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps({**figures, "table": [as_row(cell) for cell in cells]}))
    return int(any(isinstance(cell, Missing) and cell.side == FIREACT.name for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
