"""Options and fixtures of all tests: paid tests are off, real data is read from where it lies beside the checkout."""

import os
import signal
from pathlib import Path

import pytest

BESIDE_THE_CHECKOUT = Path(__file__).parents[2] / "shared" / "data" / "fireact"


def pytest_addoption(parser):
    parser.addoption("--live", action="store_true", help="run tests that need keys, a GPU or long hours")


def pytest_configure():
    # A shell starts its background jobs deaf to Ctrl-C, and their children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--live"):
        return
    skip = pytest.mark.skip(reason="needs keys, a GPU or long hours; run with --live")
    for item in items:
        if "live" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def released():
    """The folder of the official FireAct release: `finetune/`, `hotpotqa/`, ...; FIREACT_DATA names another."""
    folder = Path(os.environ.get("FIREACT_DATA", BESIDE_THE_CHECKOUT))
    if not (folder / "finetune").is_dir():
        pytest.skip("the released FireAct data is not here; set FIREACT_DATA to its folder")
    return folder
