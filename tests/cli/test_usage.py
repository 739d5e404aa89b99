"""Exit status, streams, messages: what every command has in common."""

import json
import subprocess
import sys

import pytest

from byoc.cli.common import compile_options, names, parse_dims
from byoc.errors import OptionError

COMMANDS = ["partition", "compile", "run", "bench", "compare", "vendors"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_json(cli, command):
    result = cli(command, "--help")
    assert result.status == 0
    assert "--json" in result.out
    assert result.err == ""


def test_help_lists_every_command(cli):
    out = cli("--help").out
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", ["partition", "compile", "bench", "profile"])
def test_help_names_every_format_that_is_read(cli, command):
    out = " ".join(cli(command, "--help").out.split())
    assert all(name in out for name in ("ONNX", "TFLite", ".pt2", "Relay"))


def test_python_m_byoc_is_the_command_line():
    words = [sys.executable, "-m", "byoc", "vendors", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert {row["name"] for row in json.loads(done.stdout)} >= {"dnnl"}


def test_version_names_both_packages(cli):
    result = cli("--version")
    assert result.status == 0
    assert result.out.startswith("byoc ")
    assert "apache-tvm" in result.out


@pytest.mark.parametrize(
    "words",
    [
        ["partition"],
        ["compile", "m.onnx"],
        ["bench", "m.onnx", "--runs", "0"],
        ["bench", "m.onnx", "--dim", "batch"],
        ["bench", "m.byoc", "--against", "onnxruntime"],
        ["bench", "m.byoc", "--vendors", "dnnl"],
        ["partition", "m.onnx", "--vendors", "dnnl,dnnl"],
        ["nonsense"],
        ["vendors", "--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_leaves_stdout_clean(cli, words):
    result = cli(*words)
    assert result.status == 2
    assert result.out == ""
    assert "Error" in result.err


def test_an_error_is_one_message_without_traceback(cli, tmp_path):
    result = cli("partition", tmp_path / "missing.onnx", "--vendors", "nope")
    assert result.status == 1
    assert result.out == ""
    assert "byoc: VendorError: unknown vendor 'nope'" in result.err
    assert "Traceback" not in result.err


def test_a_traceback_can_be_asked_for(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("BYOC_TRACEBACK", "1")
    with pytest.raises(Exception, match="unknown vendor 'nope'"):
        cli("partition", tmp_path / "missing.onnx", "--vendors", "nope")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['byoc', '--help']\n"
        "from byoc.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('tvm', 'tvm_ffi', 'numpy', 'onnx', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_vendors_tells_available_or_why_not(cli, monkeypatch):
    rows = {row["name"]: row for row in cli("vendors", "--json").json()}
    assert set(rows["dnnl"]) >= {"version", "available", "reason", "processor", "origin"}
    monkeypatch.setenv("BYOC_BLOCK_VENDORS", "dnnl")
    blocked = cli("vendors")
    assert blocked.status == 0
    (line,) = [line for line in blocked.out.splitlines() if line.startswith("dnnl")]
    assert "no: blocked by the environment variable BYOC_BLOCK_VENDORS" in line


def test_names_and_dims():
    assert names(" a, b,,") == ["a", "b"]
    assert parse_dims(["batch=3", "seq=128"]) == {"batch": 3, "seq": 128}


class TestOptionsFile:
    def write(self, tmp_path, text):
        path = tmp_path / "options.yaml"
        path.write_text(text)
        return path

    def test_gives_vendors_and_limits(self, tmp_path):
        path = self.write(tmp_path, "vendors: {dnnl: , npu: {banks: 2}}\nmin_segment_ops: 3\n")
        assert compile_options(None, path) == {
            "vendors": {"dnnl": {}, "npu": {"banks": 2}},
            "min_segment_ops": 3,
        }

    def test_the_command_line_chooses_and_orders(self, tmp_path, capsys):
        path = self.write(tmp_path, "vendors: {dnnl: , npu: {banks: 2}}")
        assert compile_options("npu", path) == {"vendors": {"npu": {"banks": 2}}}
        assert "options of dnnl are not used" in capsys.readouterr().err

    def test_no_file_means_no_options(self):
        assert compile_options("b,a", None) == {"vendors": {"b": {}, "a": {}}}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("vendor: {}", "unknown key 'vendor': did you mean 'vendors'"),
            ("[1, 2]", "expected a mapping, found list"),
            ("vendors: [dnnl]", "vendors must be a mapping"),
            ("vendors: {dnnl: 3}", "options of vendor 'dnnl' must be a mapping"),
            ("min_segment_ops: many", "min_segment_ops must be a number"),
            ("a: [", "cannot read the options file"),
        ],
    )
    def test_says_what_is_wrong(self, tmp_path, text, words):
        with pytest.raises(OptionError, match=".*") as caught:
            compile_options(None, self.write(tmp_path, text))
        assert words in str(caught.value)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(OptionError, match="cannot read the options file"):
            compile_options(None, tmp_path / "none.yaml")


def test_json_goes_alone_to_stdout(cli):
    assert isinstance(json.loads(cli("vendors", "--json").out), list)


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "m.onnx", "--threads", "1", "--threads", "2"],
        ["compile", "m.onnx", "-o", "a.byoc", "--output", "b.byoc"],
        ["profile", "m.onnx", "--top", "1", "--top=2"],
        ["cache", "clear", "--nonsense"],
    ],
)
def test_what_takes_one_value_is_given_once(cli, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = cli(*words)
    assert result.status == 2
    if "--nonsense" not in words:
        assert "is given 2 times, it takes one value" in result.err


def test_vendors_given_twice_add_up(cli, tmp_path):
    import onnx

    from byoc.testing.zoo import build

    onnx.save(build("mlp", batch=1, hidden=16), tmp_path / "m.onnx")
    both = cli("partition", tmp_path / "m.onnx", "--vendors", "dnnl", "--vendors", "npu", "--json")
    assert both.json()["vendors"] == ["dnnl", "npu"]
    twice = cli("partition", tmp_path / "m.onnx", "--vendors", "dnnl,npu", "--vendors", "dnnl")
    assert twice.status == 2 and "names one twice: dnnl, npu, dnnl" in twice.err


@pytest.mark.parametrize("option", [("compile", "-o"), ("run", "--outputs"), ("profile", "--html")])
def test_outputs_are_checked_before_the_work(cli, tmp_path, option):
    command, name = option
    words = [command, tmp_path / "missing.onnx", name]
    folder = cli(*words, tmp_path)
    assert folder.status == 2 and "is a folder; give the path of a file" in folder.err
    lost = cli(*words, tmp_path / "no" / "file")
    assert lost.status == 2 and "there is no folder" in lost.err


def test_groups_of_commands_count_their_options_too(cli, tmp_path):
    (tmp_path / "m.py").write_text("import torch\n")
    both = cli("adopt", "check", tmp_path / "m.py", "--vendors", "dnnl", "--vendors", "npu")
    assert "without rewrites of their own: npu" in both.err and both.status == 0
    twice = cli("cache", "list", "--limit", 1, "--limit", 2)
    assert twice.status == 2 and "is given 2 times, it takes one value" in twice.err
