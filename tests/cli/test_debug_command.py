"""``byoc debug``: tables, JSON, bundles, and what it refuses."""

from __future__ import annotations


def test_it_finds_nothing_then_what_is_not_allowed_then_replays_it(cli, zoo, tmp_path):
    model = zoo("mlp")
    fine = cli("debug", model, "--vendors", "dnnl", "--json", "--segments")
    assert fine.status == 0, fine.err
    assert fine.json()["culprits"] == [] and fine.json()["ops"] == []
    (row,) = fine.json()["segments"]
    assert row["gap"] <= row["tolerance"] and row["second_opinion"] < 1e-4

    bundle = tmp_path / "fault.byocbug"
    strict = cli("debug", model, "--vendors", "dnnl", "--tolerance", 0, "--bundle", bundle)
    assert strict.status == 1
    assert "WRONG: dnnl, segment dnnl_0, run" in strict.out and str(bundle) in strict.err

    again = cli("debug", "--replay", bundle, "--json")
    assert again.status == 1
    cases = again.json()["cases"]
    assert cases and all(case["kind"] == "wrong" for case in cases)
    assert again.json()["changed"] == {}


def test_what_it_refuses_is_one_message(cli, zoo, tmp_path):
    assert cli("debug").status == 2
    assert cli("debug", zoo("mlp"), "--replay", tmp_path / "x").status == 2
    (tmp_path / "x").write_bytes(b"nothing of the kind")
    refused = cli("debug", "--replay", tmp_path / "x")
    assert refused.status == 1 and "replay bundle" in refused.err
    missing = cli("debug", zoo("mlp"), "--vendors", "dnnl", "--inputs", tmp_path / "none.npz")
    assert missing.status == 1 and "cannot read the inputs" in missing.err
