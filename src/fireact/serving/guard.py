"""Run a server and end it, with all that it has started, when the process that wanted it is gone.

    python guard.py COMMAND ...

Standard library only, and started by its path, so that it is there before anything can go wrong. The pipe on its
standard input is open for as long as that process lives, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

GRACE = 3.0
"""Seconds to end by itself: servers wait for the requests in hand, which may take long."""
SIGNALLED = 128
"""Added to the number of the signal that ended a program, by the custom of shells."""


def main(command: Sequence[str]) -> int:
    """Run the command to its end; returns its exit status."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    status = server.wait()
    _send(server, signal.SIGKILL)
    return status if status >= 0 else SIGNALLED - status


def _end_with_parent(server: subprocess.Popen[bytes]) -> None:
    # Not through sys.stdin, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 1):
        pass
    _send(server, signal.SIGTERM)
    time.sleep(GRACE)
    _send(server, signal.SIGKILL)


def _send(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the server and its children, of which none may be left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
