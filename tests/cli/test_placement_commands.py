"""Policies, locks, explanations and the gate, from the command line."""

import onnx
import pytest

from byoc.placement.lock import read_lock
from byoc.testing.zoo import build


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "bert.onnx"
    onnx.save(build("bert_tiny"), path)
    return path


@pytest.fixture
def policy(tmp_path):
    def write(text):
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        return path

    return write


def test_partition_writes_and_obeys_a_lock(cli, model, tmp_path):
    first, second = tmp_path / "a.lock", tmp_path / "b.lock"
    made = cli("partition", model, "--vendors", "dnnl", "--placement", "model", "--lock", first)
    assert made.status == 0
    assert f"wrote {first}" in made.err
    # the vendors come from the lock
    again = cli("partition", model, "--locked", first, "--lock", second, "--json")
    assert again.status == 0
    assert again.json()["vendors"] == ["dnnl"]
    assert first.read_bytes() == second.read_bytes()


def test_diff_and_gate(cli, model, policy, tmp_path):
    old, new = tmp_path / "old.lock", tmp_path / "new.lock"
    common = ("partition", model, "--vendors", "dnnl", "--placement", "model")
    assert cli(*common, "--lock", old).status == 0
    slower = policy("rules:\n  - {force: host, op: matmul}\n")
    assert cli(*common, "--policy", slower, "--lock", new).status == 0
    assert read_lock(new).us > read_lock(old).us

    shown = cli("partition", "--diff", old, new)
    assert shown.status == 0
    assert " moved to host" in shown.out.splitlines()[0]
    assert "est. +" in shown.out
    failed = cli("partition", "--diff", old, new, "--max-regression", "5%")
    assert failed.status == 1
    assert failed.out == shown.out
    assert f"{new}: predicted " in failed.err
    assert "% slower than " in failed.err
    assert cli("partition", "--diff", old, new, "--max-regression", "1000000").status == 0
    assert cli("partition", "--diff", new, old, "--max-regression", "0%").status == 0
    data = cli("partition", "--diff", old, new, "--max-regression", "5%", "--json")
    assert data.status == 1
    assert data.json()["ok"] is False
    assert data.json()["summary"] == shown.out.splitlines()[0]
    assert data.json()["max_regression_percent"] == 5
    same = cli("partition", "--diff", old, old, "--max-regression", "0", "--json").json()
    assert (same["ok"], same["summary"], same["moved"]) == (True, "no change", [])


def test_compile_obeys_policy_and_lock(cli, model, policy, tmp_path):
    lock, out = tmp_path / "a.lock", tmp_path / "m.byoc"
    rules = policy("rules:\n  - force: host\n    op: nn.gelu\n")
    words = ("compile", model, "-o", out, "--vendors", "dnnl", "--json")
    made = cli(*words, "--placement", "model", "--policy", rules, "--lock", lock)
    assert made.status == 0
    facts = made.json()
    assert facts["placement"] == "model"
    assert facts["segments"] > 1
    again = cli("compile", model, "-o", out, "--locked", lock, "--json")
    assert again.json()["segments"] == facts["segments"]
    assert again.json()["coverage"] == facts["coverage"]


def test_a_lock_of_another_model_names_the_op(cli, model, tmp_path):
    lock = tmp_path / "a.lock"
    assert cli("partition", model, "--vendors", "dnnl", "--lock", lock).status == 0
    other = tmp_path / "mlp.onnx"
    onnx.save(build("mlp"), other)
    result = cli("compile", other, "-o", tmp_path / "m.byoc", "--locked", lock)
    assert result.status == 1
    assert f"byoc: LockError: the lock {lock} does not fit the model: op 0 is matmul" in result.err
    assert not (tmp_path / "m.byoc").exists()


def test_a_wrong_policy_says_where(cli, model, policy):
    path = policy("rules:\n  - force: dnnl\n    opp: matmul\n")
    result = cli("partition", model, "--vendors", "dnnl", "--policy", path)
    assert result.status == 1
    assert result.out == ""
    assert f"byoc: OptionError: {path}:3:5: unknown key 'opp'; did you mean 'op'?" in result.err


def test_a_policy_of_an_unknown_vendor_and_one_that_cannot_be_met(cli, model, policy):
    path = policy("rules:\n  - prefer: dnn\n")
    unknown = cli("partition", model, "--vendors", "dnnl", "--policy", path)
    assert unknown.status == 1
    assert f"{path}:2:13: prefer names 'dnn'" in unknown.err
    assert "did you mean 'dnnl'" in unknown.err
    path = policy("# all on the matrix engine\nrules:\n  - {force: npu, op: nn.layer_norm}\n")
    unmet = cli("partition", model, "--vendors", "npu,dnnl", "--policy", path)
    assert unmet.status == 1
    assert f"{path}:3:13: policy 'force npu (op nn.layer_norm" in unmet.err
    assert "npu" in unmet.err.split("cannot be met for op ")[1]


def test_a_rule_that_matches_nothing_is_said(cli, model, policy):
    path = policy("rules:\n  - {exclude: dnnl, op: nn.conv2d}\n")
    result = cli("partition", model, "--vendors", "dnnl", "--policy", path)
    assert result.status == 0
    assert f"byoc: warning: {path}:2:15: the rule" in result.err


def test_why(cli, model):
    words = ("partition", model, "--vendors", "dnnl", "--placement", "model")
    one = cli(*words, "--why", "#0")
    assert one.status == 0
    assert one.out.startswith("#0 ")
    assert "dnnl: " in one.out
    two = cli(*words, "--why", "#0", "--why", "#1", "--json").json()
    assert [op["index"] for op in two["why"]] == [0, 1]
    assert two["why"][0]["text"].strip() == one.out.strip()
    lost = cli(*words, "--why", "no such op")
    assert lost.status == 1
    assert "no op named 'no such op'" in lost.err


def test_what_if(cli, model):
    words = ("partition", model, "--vendors", "npu", "--placement", "model", "--what-if")
    found = cli(*words)
    assert found.status == 0
    assert "what if" in found.out or " were supported by npu" in found.out
    assert isinstance(cli(*words, "--json").json()["what_if"], list)


def test_bench_and_compare_take_a_placement(cli, model, policy):
    path = policy("rules:\n  - {force: host, op: nn.gelu}\n")
    wishes = ("--vendors", "dnnl", "--placement", "model", "--policy", path)
    assert cli("bench", model, *wishes, "--runs", 1, "--json").status == 0
    compared = cli("compare", model, *wishes, "--seeds", 1, "--json")
    assert compared.status == 0
    assert compared.json()["ok"]


def test_an_unknown_placement_lists_the_legal_ones(cli, model):
    result = cli("partition", model, "--vendors", "dnnl", "--placement", "modell")
    assert result.status == 1
    assert "did you mean 'model'? legal: " in result.err


@pytest.mark.parametrize(
    "words",
    [
        ["partition"],
        ["partition", "m.onnx", "--max-regression", "5%"],
        ["partition", "m.onnx", "--diff", "a", "b"],
        ["partition", "--diff", "a"],
        ["partition", "--diff", "a", "b", "--what-if"],
        ["partition", "--diff", "a", "b", "--max-regression", "much"],
        ["partition", "m.onnx", "--locked", "a.lock", "--placement", "model"],
        ["compile", "m.onnx", "-o", "m.byoc", "--budget", "60s"],
        ["bench", "m.byoc", "--policy", "p.yaml"],
        ["bench", "m.byoc", "--locked", "a.lock"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(cli, words):
    result = cli(*words)
    assert result.status == 2
    assert result.out == ""


def test_what_became_of_each_pattern(cli, model):
    shown = cli("partition", model, "--vendors", "dnnl", "--patterns")
    assert shown.status == 0
    header, *lines = shown.out.splitlines()
    assert header.split() == ["pattern", "taken", "accepted", "refused"]
    assert all(line.startswith("dnnl.") for line in lines)
    assert any("fits nowhere: " in line for line in lines)
    data = cli("partition", model, "--vendors", "dnnl", "--patterns", "--json").json()["patterns"]
    assert len(data) == len(lines)
    assert sum(use["taken"] for use in data) > 0
    refused = cli("partition", model, "--vendors", "dnnl", "--patterns", "--what-if")
    assert refused.status == 2
    assert "--patterns is asked for alone" in refused.err
