"""stages/table.py: the table of plain text, written out."""

from fireact.stages.results import Difference, Drop, Results, Row
from fireact.stages.table import table

PLACE = {"task": "world/hop", "split": "test"}
COSTS = {"f1": 70.0, "turns": 2.5, "tokens_in": 1234.5, "tokens_out": 40.0, "seconds": 0.125}


def row(agent, noise, em, **changes):
    shares = {"em": em, "em_low": em and em - 5, "em_high": em and em + 5}
    return Row(agent=agent, noise=noise, n=300, **PLACE, **shares | COSTS | {"failed": 0} | changes)


def test_columns_are_aligned_and_differences_and_drops_follow():
    difference = {"difference": 40.0, "low": 33.25, "high": 46.0, "relative_gain": 100.0}
    found = Results(
        rows=(row("prompted", "normal", 40.0), row("tuned", "normal", 80.0), row("tuned", "none", 72.0)),
        differences=(Difference(a="tuned", b="prompted", noise="normal", n=300, **PLACE, **difference),),
        drops=(Drop(agent="tuned", noise="none", n=300, em_normal=80.0, em=72.0, drop=10.0, **PLACE),),
        groups=(),
        teacher=(),
    )
    assert table(found) == (
        "agent     noise   task              n     EM [low, high]    F1  turns  tokens in  tokens out  s/question\n"
        "prompted  normal  world/hop test  300  40.0 [35.0, 45.0]  70.0    2.5      1,234          40        0.12\n"
        "tuned     normal  world/hop test  300  80.0 [75.0, 85.0]  70.0    2.5      1,234          40        0.12\n"
        "tuned     none    world/hop test  300  72.0 [67.0, 77.0]  70.0    2.5      1,234          40        0.12\n"
        "\n"
        "tuned - prompted, world/hop test, normal: EM +40.0 points [+33.2, +46.0] (+100%) over 300 common questions\n"
        "\n"
        "tuned, world/hop test: EM 80.0 -> 72.0 under none, a drop of 10.0%"
    )


def test_the_strict_score_has_a_column_where_a_task_has_one():
    found = Results(rows=(row("io", "normal", 50.0, strict=40.0), row("cot", "normal", 60.0)))
    assert [line.split()[4:9] for line in table(found).splitlines()] == [
        ["EM", "[low,", "high]", "strict", "F1"],
        ["300", "50.0", "[45.0,", "55.0]", "40.0"],
        ["300", "60.0", "[55.0,", "65.0]", "-"],
    ]


def test_failed_episodes_have_a_column_where_there_are_any():
    lines = table(Results(rows=(row("prompted", "normal", 50.0, failed=3), row("tuned", "normal", 60.0)))).splitlines()
    assert [line.split()[4 + (line[:5] != "agent") :][:2] for line in lines] == [
        ["failed", "EM"],
        ["3", "50.0"],
        ["0", "60.0"],
    ]


def test_a_gain_under_noise_is_called_one():
    drop = Drop(agent="tuned", noise="none", **PLACE, n=50, em_normal=48.0, em=52.0, drop=-8.3333)
    assert table(Results(rows=(row("tuned", "none", 52.0),), drops=(drop,))).endswith(
        "EM 48.0 -> 52.0 under none, a gain of 8.3%"
    )


def test_what_is_not_known_is_a_dash():
    found = Results(rows=(row("io", "normal", None, f1=None),), differences=(), drops=(), groups=(), teacher=())
    assert table(found).splitlines()[1].split() == [
        "io", "normal", "world/hop", "test", "300", "-", "-", "2.5", "1,234", "40", "0.12",
    ]  # fmt: skip


def test_dollars_have_a_column_where_a_price_is_known():
    found = Results(rows=(row("teacher", "normal", 50.0, dollars=0.00123), row("tuned", "normal", 60.0)))
    assert [line.split()[-1] for line in table(found).splitlines()] == ["$/question", "0.00123", "-"]
