"""memory.py: asks glibc, and says so elsewhere."""

import platform

from fireact.memory import keep_freed_memory


def test_glibc_takes_the_setting_and_others_are_left_alone():
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
