"""``byoc cache``: what is kept, and how it is forgotten."""

import math

import pytest

from byoc.timing.store import Store, Timed


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path))
    with Store() as store:
        for key, place, timed in (
            ("a", "dnnl 3.2 () on cpu", Timed(1e-3, 0.02, 9)),
            ("b", "dnnl 3.2 () on cpu", Timed(math.inf, error="dnnl: no such layout")),
            ("c", "host 0.1 () on cpu", Timed(2e-6, 0.1, 9)),
        ):
            store.put(key, timed, kind="segment", place=place, machine="m, 2 threads", what="3 ops")
    return tmp_path


def test_path_info_and_list(cli, folder):
    assert cli("cache", "path").out.strip() == str(folder)
    facts = cli("cache", "info", "--json").json()
    assert facts["measurements"] == 3
    assert facts["failed"] == 1
    assert facts["places"] == {"dnnl": 2, "host": 1}
    assert "3 measurements" in cli("cache", "info").out
    rows = cli("cache", "list", "--vendor", "dnnl", "--json").json()
    assert [row["key"] for row in rows] == ["a", "b"]
    assert rows[1]["seconds"] is None
    assert rows[1]["error"] == "dnnl: no such layout"
    listed = cli("cache", "list", "--limit", 2)
    assert "dnnl: no such layout" in listed.out
    assert "1 older ones are not shown" in listed.err


def test_clear(cli, folder):
    assert cli("cache", "clear", "--older", 1, "--json").json()["removed"] == 0
    assert cli("cache", "clear", "--vendor", "dnnl", "--json").json()["removed"] == 2
    assert cli("cache", "info", "--json").json()["places"] == {"host": 1}
    assert "1 measurements removed" in cli("cache", "clear").out
    assert cli("cache", "info", "--json").json()["measurements"] == 0
    assert cli("cache", "list").status == 0


def test_a_damaged_store_is_said_and_the_command_goes_on(cli, folder):
    (folder / "measurements.sqlite").write_bytes(b"no database " * 400)
    for suffix in ("-wal", "-shm"):
        (folder / f"measurements.sqlite{suffix}").unlink(missing_ok=True)
    result = cli("cache", "info")
    assert result.status == 0
    assert "set aside as" in result.err
    assert "0 measurements" in result.out
