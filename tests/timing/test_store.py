"""The store under bad luck: files that are old, damaged or locked; real processes beside it."""

import json
import math
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from byoc.timing.store import SCHEMA, Store, Timed, cache_folder

ROW = {"kind": "segment", "place": "acme 1 on cpu", "machine": "m", "what": "2 ops"}


def put(store, key, seconds=1e-3, **more):
    store.put(key, Timed(seconds, 0.01, 9, **more), **ROW)


def test_what_is_put_is_there_in_the_next_run(tmp_path):
    with Store(tmp_path) as store:
        put(store, "a", 0.25)
        put(store, "b", math.inf, error="acme: too wide")
        with Store(tmp_path) as other:  # at once, not when closed
            assert other.get("a") == Timed(0.25, 0.01, 9)
    with Store(tmp_path) as store:
        assert store.get("a").seconds == 0.25
        assert store.get("b") == Timed(math.inf, 0.01, 9, "acme: too wide")
        assert store.get("c") is None
        assert [e.key for e in store.entries()] == ["a", "b"]
        assert store.remove(["a", "c"]) == 1
        assert store.get("a") is None


def test_the_folder_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("BYOC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "byoc"


@pytest.mark.parametrize("version", [0, SCHEMA + 1])
def test_another_layout_is_set_aside_and_said(tmp_path, version):
    path = tmp_path / "measurements.sqlite"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE timing (key TEXT, ms REAL)")
        old.execute("INSERT INTO timing VALUES ('a', 7)")
        old.execute(f"PRAGMA user_version = {version}")
    old.close()
    said = []
    with Store(tmp_path, said.append) as store:
        assert store.get("a") is None
        put(store, "a")
    assert len(said) == 1
    assert f"has layout {version}" in said[0]
    assert f"this one writes {SCHEMA}" in said[0]
    (aside,) = tmp_path.glob("*.aside")
    assert aside.name in said[0]
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT ms FROM timing").fetchall() == [(7.0,)]
    kept.close()
    with Store(tmp_path, said.append) as store:
        assert store.get("a") is not None
    assert len(said) == 1


@pytest.mark.parametrize(
    "junk", [b"not a database at all " * 99, b"SQLite format 3\0" + b"\x07" * 4080]
)
def test_a_damaged_file_is_set_aside_and_said(tmp_path, junk):
    (tmp_path / "measurements.sqlite").write_bytes(junk)
    said = []
    with Store(tmp_path, said.append) as store:
        put(store, "a")
    assert any("set aside as" in line for line in said), said
    (aside,) = tmp_path.glob("*.aside")
    assert aside.read_bytes() == junk
    with Store(tmp_path) as store:
        assert store.get("a") is not None


def test_damage_under_a_running_store_loses_nothing_it_measured(tmp_path):
    said = []
    with Store(tmp_path, said.append) as store:
        for k in range(40):
            put(store, f"early {k}")
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with store.path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 8000)
        store._connection.execute("PRAGMA shrink_memory")
        put(store, "late")
        assert store.get("unknown") is None
        assert store.get("early 3").seconds == 1e-3
    assert any("damaged" in line for line in said), said
    with Store(tmp_path) as store:
        assert {e.key for e in store.entries()} == {"late", *(f"early {k}" for k in range(40))}


def test_a_file_taken_away_is_written_again(tmp_path):
    with Store(tmp_path) as store:
        put(store, "a")
        for path in tmp_path.iterdir():
            path.unlink()
        put(store, "b")
    with Store(tmp_path) as store:
        assert {e.key for e in store.entries()} == {"a", "b"}


def test_a_folder_that_cannot_be_made_leaves_memory(tmp_path):
    (tmp_path / "file").write_text("")
    said = []
    with Store(tmp_path / "file" / "cache", said.append) as store:
        put(store, "a")
        assert store.get("a") is not None
    assert "kept in memory" in said[0]


HOLDER = """
    import sqlite3, sys
    held = sqlite3.connect(sys.argv[1], isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    sys.stdin.readline()
    held.execute("COMMIT")
"""


def test_a_locked_store_is_worked_beside_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("byoc.timing.store._LAST_PATIENCE", 0.2)
    said = []
    store = Store(tmp_path, said.append)
    put(store, "before")
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(store.path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        store._wait(0.1)
        put(store, "while 1")
        put(store, "while 2")
        assert store.get("while 1") is not None
        store.close()
    finally:
        holder.communicate("done\n")
    assert any("locked by another process; measurements wait" in line for line in said), said
    assert any("2 measurements are kept in" in line for line in said), said
    (pending,) = tmp_path.glob("pending-*.jsonl")
    assert len(pending.read_text().splitlines()) == 2
    with Store(tmp_path) as store:
        assert {e.key for e in store.entries()} == {"before", "while 1", "while 2"}
    assert not list(tmp_path.glob("pending-*"))


def test_a_lock_that_ends_in_time_costs_nothing(tmp_path):
    said = []
    store = Store(tmp_path, said.append)
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(store.path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    store._wait(0.05)
    put(store, "a")
    holder.communicate("done\n")
    put(store, "b")
    store.close()
    assert not list(tmp_path.glob("pending-*"))
    with Store(tmp_path) as store:
        assert {e.key for e in store.entries()} == {"a", "b"}


WRITER = """
    import sys
    from pathlib import Path
    from byoc.timing.store import Store, Timed
    said = []
    with Store(Path(sys.argv[1]), said.append) as store:
        for k in range(60):
            store.put(f"{sys.argv[2]} {k}", Timed(k + 1.0), kind="segment", place="p", machine="m",
                      what="w")
    print(said)
"""


def test_two_processes_write_at_once(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)]
    writers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "xy"
    ]
    for writer in writers:
        out, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        assert "aside" not in out
    with Store(tmp_path) as store:
        assert len(list(store.entries())) == 120


def test_lines_written_aside_that_make_no_sense_are_left(tmp_path):
    (tmp_path / "pending-1-1.jsonl").write_text('{"key": "a"}\n')
    (tmp_path / "pending-2-2.jsonl").write_text(json.dumps({"schema": 99}) + "\n")
    said = []
    with Store(tmp_path, said.append) as store:
        assert not list(store.entries())
    assert "pending-1-1.jsonl cannot be read" in said[0]
    assert (tmp_path / "pending-1-1.jsonl").exists()
