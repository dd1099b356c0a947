"""Calls in processes of their own, so that small models use all cores; what they log comes out in this one.

A model of a few million parameters gains little from a second core, since each of its operations is short. Two models
side by side use both.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from logging.handlers import QueueHandler, QueueListener
from typing import Any

from tqdm import tqdm

from fireact.progress import show_lines


def in_processes(function: Callable[..., None], calls: Sequence[tuple[Any, ...]], *, processes: int) -> None:
    """Make the calls, at most `processes` at once, each with an equal share of the cores.

    Args:
        function: a function of a module; it and its arguments are pickled between our own processes.

    Raises:
        Exception: the first that a call raises; the others are then ended, which loses what they have in hand.
    """
    # A forked child of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    log = logging.getLogger("fireact")
    messages = context.Queue()
    cores = max(1, len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)))
    settings = (messages, log.level, max(1, cores // processes))
    listener = QueueListener(messages, *log.handlers)
    listener.start()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=settings)
    try:
        for future in [pool.submit(function, *call) for call in calls]:
            future.result()
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        listener.stop()


def _begin(messages: Any, level: int, threads: int) -> None:
    """Make a new process ready, before torch is imported: its threads, its log, and its end."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # Else tqdm makes a lock for several processes, which is left over when this one is ended.
    tqdm.set_lock(threading.RLock())
    log = logging.getLogger("fireact")
    log.handlers = [QueueHandler(messages)]
    log.setLevel(level)
    show_lines()


def _end_with_parent() -> None:
    """End this process when the one that began it is gone: nobody holds the run folder for it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
