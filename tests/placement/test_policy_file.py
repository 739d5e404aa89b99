"""The policy file: what is read, and that every complaint says where."""

import re
from pathlib import Path

import pytest

from byoc import OptionError, Policy, Rule
from byoc.placement.policy_file import parse_size, read_policy, resolve_policy


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def policy(text):
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        return "p.yaml"

    return policy


def complaints(path):
    with pytest.raises(OptionError) as caught:
        read_policy(path)
    return str(caught.value).splitlines()


def test_everything_a_policy_can_say(write):
    path = write("""\
# keep the head on the host
rules:
  - prefer: npu
    op: [nn.conv*, matmul]
    dtype: int8
  - {force: host, module: encoder.layer.0, name: "*/Softmax"}
  - exclude: dnnl
min_segment_flops: 2e6
min_segment_ops: 3
max_segments: 8
require_full_offload: yes
weight_budget: {npu: 512 MiB, cpu: 4096}
""")
    assert read_policy(path) == Policy(
        rules=(
            Rule("prefer", "npu", op=("nn.conv*", "matmul"), dtype=("int8",)),
            Rule("force", "host", module=("encoder.layer.0",), name=("*/Softmax",)),
            Rule("exclude", "dnnl"),
        ),
        min_segment_flops=2e6,
        min_segment_ops=3,
        max_segments=8,
        require_full_offload=True,
        weight_budget={"npu": 512 << 20, "cpu": 4096},
    )
    assert [rule.where for rule in read_policy(path).rules] == [
        "p.yaml:3:13",
        "p.yaml:6:13",
        "p.yaml:7:14",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "rules:\n", "rules: []\nweight_budget:\n"])
def test_an_empty_policy(write, text):
    assert read_policy(write(text)) == Policy()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rule: []", "p.yaml:1:1: unknown key 'rule'; did you mean 'rules'? legal: "),
        ("- force: a", "p.yaml:1:1: a policy is a mapping, found a list"),
        ("rules: force", "p.yaml:1:8: rules must be a list, found 'force'"),
        ("rules:\n  - force", "p.yaml:2:5: a rule is a mapping, found 'force'"),
        ("rules:\n  - force: a\n    ops: x", "p.yaml:3:5: unknown key 'ops'; did you mean 'op'?"),
        ("rules:\n  - op: x", "p.yaml:2:5: a rule has one of prefer, exclude, force; found none"),
        ("rules:\n- force: a\n  prefer: b", "p.yaml:2:3: a rule has one of prefer, exclude, force; "
         "found force and prefer"),
        ("rules:\n- force:", "p.yaml:2:9: expected a text, found nothing"),
        ("rules:\n- force: [a]", "p.yaml:2:10: expected a text, found a list"),
        ("rules:\n- force: a\n  op: [x, {}]", "p.yaml:3:11: expected a text, found a mapping"),
        ("rules:\n- force: a\n  op: []", "p.yaml:3:7: expected a text or a list of texts"),
        ("min_segment_flops: many", "p.yaml:1:20: expected a number, 0 or more, found 'many'"),
        ("min_segment_flops: -3", "p.yaml:1:20: expected a number, 0 or more, found '-3'"),
        ("min_segment_flops: nan", "p.yaml:1:20: expected a number, 0 or more, found 'nan'"),
        ("min_segment_ops: 2.5", "p.yaml:1:18: expected a whole number, 0 or more, found '2.5'"),
        ("max_segments: []", "p.yaml:1:15: expected a text, found a list"),
        ("require_full_offload: 1", "p.yaml:1:23: expected true or false, found '1'"),
        ("weight_budget: 5", "p.yaml:1:16: weight_budget maps processors to sizes, found '5'"),
        ("weight_budget:\n  npu: 3 pages", "p.yaml:2:8: expected a size such as 512 MiB, found "
         "'3 pages'; units: B, kB"),
        ("max_segments: 1\nmax_segments: 2", "p.yaml:2:1: 'max_segments' is given twice, first in "
         "line 1"),
        ("rules:\n  - force: [a", "p.yaml:2:14: expected ',' or ']'"),
        ("a: b: c", "p.yaml:1:5: mapping values are not allowed here"),
    ],
)  # fmt: skip
def test_a_complaint_says_where(write, text, expected):
    (line,) = complaints(write(text))
    assert line.startswith(expected)


def test_all_complaints_at_once_in_the_order_of_the_file(write):
    text = "max_segments: x\nrules:\n  - force: a\n    opp: y\n  - {}\nmin_segment_ops: z\n"
    assert [line.split(": ")[0] for line in complaints(write(text))] == [
        "p.yaml:1:15",
        "p.yaml:4:5",
        "p.yaml:5:5",
        "p.yaml:6:18",
    ]


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(OptionError, match=r"cannot read the policy file .*none\.yaml"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(OptionError, match=r"cannot read the policy file .*b\.yaml"):
        read_policy(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("1.5 kB", 1500), ("512MiB", 2**29), ("2 gib", 2**31), ("1e3 B", 1000)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


def test_a_policy_may_be_a_value_or_a_path(write):
    policy = Policy(max_segments=2)
    assert resolve_policy(policy) is policy
    assert resolve_policy(None) is None
    assert resolve_policy(write("max_segments: 2")) == policy
    with pytest.raises(OptionError, match=r"byoc\.Policy or the path of a file, found dict"):
        resolve_policy({"max_segments": 2})


class TestTheGuide:
    """docs/policy.md shows only what runs."""

    def blocks(self, language):
        text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)

    def test_its_policy_is_legal(self, write):
        (text,) = self.blocks("yaml")
        policy = read_policy(write(text))
        assert [rule.action for rule in policy.rules] == ["prefer", "exclude", "force"]
        assert policy.weight_budget == {"cpu": 512 << 20}

    def test_its_code_runs(self, tmp_path, monkeypatch, zoo):
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "squeezenet.onnx").symlink_to(zoo("squeezenet"))
        monkeypatch.chdir(tmp_path)
        exec("\n".join(self.blocks("python")), {})
        assert (tmp_path / "placement.lock").exists()
