"""``byoc cache``: what is kept, and how it is forgotten."""

import math
import os
import time

import pytest

import byoc
from byoc.runtime.engines import make_engine
from byoc.runtime.program import VendorUse
from byoc.segment import Artifact
from byoc.testing.zoo import build
from byoc.timing.store import Store, Timed
from byoc.vendor import PythonRuntime


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


class Kept:
    """Engines of one vendor in a cache, by what `init` would do."""

    def __init__(self, monkeypatch, folder):
        monkeypatch.setenv("BYOC_CACHE_DIR", str(folder))
        monkeypatch.delenv("BYOC_ENGINE_BYTES", raising=False)
        self.folder = folder / "engines"

    def keep(self, text: str, vendor: str = "acme") -> None:
        artifact = Artifact(f"{vendor}_0", vendor, text.encode())
        use = VendorUse("1.0", {}, PythonRuntime(print))
        arguments = ([], lambda: text, lambda engine: engine.encode() * 1000, lambda data: text)
        assert make_engine(artifact, use, 1, ("", ""), *arguments) == text

    def files(self, ending: str = ".engine") -> list:
        return sorted(self.folder.glob(f"*{ending}"))


@pytest.fixture
def kept(monkeypatch, tmp_path) -> Kept:
    kept = Kept(monkeypatch, tmp_path)
    kept.keep("one")
    kept.keep("another", "beta")
    return kept


def test_engines_are_listed_beside_measurements(cli, kept):
    rows = cli("cache", "list", "--json").json()
    assert [(row["kind"], row["vendor"], row["segment"]) for row in rows] == [
        ("engine", "acme", "acme_0"),
        ("engine", "beta", "beta_0"),
    ]
    assert [row["bytes"] for row in rows] == [4096 + 3000, 4096 + 7000]
    assert len(cli("cache", "list", "--vendor", "beta", "--json").json()) == 1
    assert cli("cache", "list", "--kind", "segment", "--json").json() == []
    assert "built for acme_0" in cli("cache", "list", "--kind", "engine").out
    facts = cli("cache", "info", "--json").json()["engines"]
    assert facts == {
        "count": 2,
        "bytes": 2 * 4096 + 10000,
        "limit": 4 << 30,
        "vendors": {"acme": 1, "beta": 1},
    }
    assert "2 engines, 0.0 of at most 4295 MB" in cli("cache", "info").out


def test_check_reads_all(cli, kept):
    assert "2 engines and 0 measurements are good" in cli("cache", "check").out
    path = kept.files()[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    result = cli("cache", "check", "--json")
    assert result.status == 1
    assert result.json() == {
        "measurements": 0,
        "engines": 1,
        "damaged": {path.stem: "its bytes have changed"},
    }
    assert len(kept.files(".aside")) == 1
    assert cli("cache", "check").status == 0
    assert "set aside" in cli("cache", "list").out


def test_prune_removes_what_was_not_used_for_longest(cli, kept):
    old, new = (next(p for p in kept.files() if text in p.read_bytes())
                for text in (b"acme", b"beta"))  # fmt: skip
    os.utime(old, (0, time.time() - 3 * 86400))
    (kept.folder / ".dead.part").write_bytes(b"x")
    (kept.folder / "damaged.1.aside").write_bytes(b"x")
    assert cli("cache", "prune", "--older", 4, "--json").json()["removed"] == 0
    assert not kept.files(".part")
    assert "1 engines removed" in cli("cache", "prune", "--older", 2).out
    assert kept.files() == [new]
    assert cli("cache", "prune", "--json").json() == {
        "removed": 1,  # what was set aside
        "engines": 1,
        "bytes": new.stat().st_size,
    }
    assert cli("cache", "prune", "--size", "10K").out.startswith("1 engines removed, 0 left")
    refused = cli("cache", "prune", "--size", "much")
    assert refused.status == 1
    assert "--size takes bytes, such as 500M or 2G, found 'much'" in refused.err


def test_clear_forgets_engines_too(cli, kept):
    facts = cli("cache", "clear", "--vendor", "beta", "--json").json()
    assert (facts["removed"], facts["engines"]) == (0, 1)
    assert "0 measurements removed, and 1 engines" in cli("cache", "clear").out
    assert not kept.files()


def test_warm_builds_what_a_model_needs(cli, monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    kept = Kept(monkeypatch, tmp_path / "cache")
    byoc.compile(build("mlp"), vendors=["openvino"]).save(tmp_path / "m.byoc")
    cli("cache", "clear")
    first, second = (cli("cache", "warm", tmp_path / "m.byoc", "--json").json() for _ in range(2))
    assert [(f["built"], f["found"]) for f in (*first, *second)] == [(1, 0), (0, 1)]
    assert "0 engines built, 1 found" in cli("cache", "warm", tmp_path / "m.byoc").out
    assert len(kept.files()) == 1
    assert cli("cache", "warm", tmp_path / "none.byoc").status != 0
