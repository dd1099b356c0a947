"""cache.py: what was answered is not asked again, by whoever asks."""

import multiprocessing
import sqlite3

import pytest

from fireact.cache import Cache, cache_path, key_of
from fireact.errors import DataError

KEY = key_of("http://a/v1", {"model": "m", "prompt": "Who?"}, 0)


def test_an_answer_is_found_again_also_by_another_process_later(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        assert cache.get(KEY) is None
        cache.put(KEY, {"text": "Ann \u00e9"})
        assert cache.get(KEY) == {"text": "Ann \u00e9"}
    with Cache(tmp_path / "c.sqlite") as again:
        assert again.get(KEY) == {"text": "Ann \u00e9"}


def test_the_first_answer_under_a_key_stays(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        cache.put(KEY, {"text": "first"})
        cache.put(KEY, {"text": "second"})
        assert cache.get(KEY) == {"text": "first"}


def test_a_key_depends_on_every_part_and_not_on_the_order_of_names():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of("m", "p", 0), key_of("m", "p", 1), key_of("m", "q", 0), key_of("mp", "", 0)}) == 4


def _put_many(path, start):
    with Cache(path) as cache:
        for number in range(start, start + 50):
            cache.put(key_of(number), {"number": number})


def test_several_processes_may_write_at_once(tmp_path):
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_many, args=(path, start)) for start in (0, 25, 50, 75)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    with Cache(path) as cache:
        assert [cache.get(key_of(number)) for number in range(125)] == [{"number": number} for number in range(125)]


def test_a_file_of_another_version_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "c.sqlite"
    with Cache(path) as cache:
        cache.put(KEY, {})
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 7")
    other.close()
    with pytest.raises(DataError, match=r"c\.sqlite: a cache of another version or program; delete the file"):
        Cache(path).get(KEY)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look like one" * 40, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_file_is_refused_with_the_way_out(tmp_path, content):
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"c\.sqlite: .*; delete the file, or set FIREACT_CACHE"):
        Cache(path).get(KEY)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*cache\.sqlite: "):
        Cache(tmp_path / "file" / "cache.sqlite").get(KEY)


def test_the_environment_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("FIREACT_CACHE", str(tmp_path))
    assert cache_path() == tmp_path / "cache.sqlite"
    monkeypatch.delenv("FIREACT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_path() == tmp_path / "caches" / "fireact" / "cache.sqlite"


def test_nothing_is_made_on_disk_before_it_is_used(tmp_path):
    with Cache(tmp_path / "deep" / "c.sqlite"):
        pass
    assert list(tmp_path.iterdir()) == []
