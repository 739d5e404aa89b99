"""The store under bad luck: files that are old, damaged or locked; real processes beside it."""

import json
import math
import os
import random
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


# Values as others may have left them: of every type, at the edges, and some that are right.
ODD = [
    None,
    "abc",
    "",
    b"\x00\xff",
    -5,
    0,
    3,
    1e300,
    math.inf,
    -math.inf,
    math.nan,
    10**30,
    True,
    [1],
    {},
]
ODD += ["\ud800", "1e-3", 2**63 - 1]


def drawn(column, chance):
    """SQL for the value of a column."""
    odd = ["'abc'", "x'00ff'", "-5", "1e300", "9e999", "-9e999", "CAST(x'ff80' AS TEXT)", "''", "7"]
    return f"UPDATE timing SET {column} = {chance.choice(odd)} WHERE key = 'k1'"


@pytest.mark.parametrize("seed", range(40))
def test_a_bad_row_is_left_out_and_said(tmp_path, seed):
    chance = random.Random(seed)
    with Store(tmp_path) as store:
        for k in range(4):
            put(store, f"k{k}")
    connection = sqlite3.connect(tmp_path / "measurements.sqlite")
    with connection:
        for column in chance.sample(["kind", "place", "what", "seconds", "noise", "runs", "error",
                                     "created"], chance.randint(1, 3)):  # fmt: skip
            connection.execute(drawn(column, chance))
    connection.close()
    said = []
    with Store(tmp_path, said.append) as store:
        entries = {e.key: e for e in store.entries()}
        assert {"k0", "k2", "k3"} <= set(entries)
        assert (store.get("k1") is None) == ("k1" not in entries) == bool(said)
        if said:
            assert len(set(said)) == 1 and "a row is left out" in said[0]
        put(store, "k1", 7.0)
        assert store.get("k1").seconds == 7.0
    with Store(tmp_path) as store:  # what was measured again took the bad row's place
        assert len(list(store.entries())) == 4
    assert not list(tmp_path.glob("*.aside"))


@pytest.mark.parametrize("seed", range(40))
def test_a_bad_line_costs_neither_the_store_nor_the_lines_beside_it(tmp_path, seed):
    chance = random.Random(seed)
    with Store(tmp_path) as store:
        put(store, "kept")

    def line(key, odd):
        timed = {"seconds": 1.0, "noise": 0.0, "runs": 1, "error": ""}
        fields = {"key": key, **ROW, "timed": timed, "created": 1.0, "schema": SCHEMA}
        if odd:
            target = chance.choice([fields, timed])
            name = chance.choice(sorted(target))
            if chance.random() < 0.2:
                del target[name]
            else:
                target[name] = chance.choice(ODD[:2] + ODD[4:] if name != "seconds" else ODD[1:2])
        return json.dumps(fields, default=str)

    junk = ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "", "null", "[]", "7", '"x"', "{"]
    lines = [line("good", False), *(line(f"odd {i}", True) for i in range(3)), chance.choice(junk)]
    chance.shuffle(lines)
    pending = tmp_path / "pending-1-1.jsonl"
    pending.write_text("\n".join(lines) + "\n")
    said = []
    for _ in range(2):
        with Store(tmp_path, said.append) as store:
            assert {"kept", "good"} <= {e.key for e in store.entries()}
    assert pending.exists() and any("cannot be read (line " in text for text in said)
    assert not list(tmp_path.glob("*.aside"))


def test_pending_names_that_are_no_files_are_left(tmp_path):
    os.mkfifo(tmp_path / "pending-1-1.jsonl")
    (tmp_path / "pending-2-2.jsonl").mkdir()
    (tmp_path / "pending-3-3.jsonl").write_bytes(b"\xff\xfe")
    said = []
    with Store(tmp_path, said.append) as store:
        put(store, "a")
        assert [e.key for e in store.entries()] == ["a"]
    assert len(said) == 3 and len(list(tmp_path.glob("pending-*"))) == 3


@pytest.mark.parametrize("odd", [Timed(1.0, math.nan), Timed(-1.0), Timed(1.0, 0.0, 1, "\ud800")])
def test_a_measurement_that_makes_no_sense_stays_in_memory(tmp_path, odd):
    said = []
    with Store(tmp_path, said.append) as store:
        store.put("odd", odd, **ROW)
        put(store, "good")
        assert store.get("odd") is not None
    assert "kept in memory only" in said[0]
    with Store(tmp_path) as store:
        assert [e.key for e in store.entries()] == ["good"]


def test_a_view_is_no_table(tmp_path):
    with Store(tmp_path) as store:
        put(store, "a")
    connection = sqlite3.connect(tmp_path / "measurements.sqlite")
    connection.executescript(
        "DROP TABLE timing; CREATE VIEW timing AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL "
        "SELECT n + 1 FROM r) SELECT 'k' || n AS key, 'a' AS kind, 'a' AS place, "
        "'a' AS machine, 'a' AS what, "
        "1.0 AS seconds, 0.0 AS noise, 1 AS runs, '' AS error, 1.0 AS created FROM r"
    )
    connection.close()
    said = []
    with Store(tmp_path, said.append) as store:
        assert store.get("zz") is None
    assert "timing is no table" in said[0]
