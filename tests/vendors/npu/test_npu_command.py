"""`byoc npu`: programs of a compiled model as text, and what the cycle model says of them."""

import json

import pytest
from npu_models import residual_net, samples
from typer.testing import CliRunner

import byoc
from byoc.errors import ArtifactError
from byoc.quantize import quantize_model
from byoc.vendor_templates.npu import VENDOR
from byoc.vendor_templates.npu.command import app
from byoc.vendor_templates.npu.compile import measure
from byoc.vendor_templates.npu.isa.instructions import assemble
from byoc.vendor_templates.npu.machine.program import decode_program


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    model = residual_net()
    executable = byoc.compile(quantize_model(model, samples(model, 8)).model, vendors=[VENDOR])
    path = tmp_path_factory.mktemp("npu") / "net.byoc"
    executable.save(path)
    (artifact,) = executable._program.artifacts
    return path, decode_program(artifact.blob)


def call(*words):
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)


def test_disasm_is_what_the_assembler_reads(compiled):
    path, program = compiled
    shown = call("disasm", path)
    assert shown.exit_code == 0
    assert f"# segment {program.segment}: {len(program.instructions)} instructions" in shown.output
    found = assemble(shown.output)
    for one, other in zip(found, program.instructions, strict=True):
        assert (one.op, one.wait, one.signal) == (other.op, other.wait, other.signal)
    rows = json.loads(call("disasm", path, "--json").output)[program.segment]
    assert [row["op"] for row in rows] == [i.op for i in program.instructions]


def test_stats_are_those_of_the_cycle_model(compiled):
    path, program = compiled
    counters = measure(program)
    shown = call("stats", path).output
    assert f"{program.segment}: {counters.cycles} cycles" in shown and "busy" in shown
    facts = json.loads(call("stats", path, "--json").output)[program.segment]
    assert facts["cycles"] == counters.cycles
    assert facts["utilisation"] == counters.utilisation(program.config)


def test_a_segment_or_a_file_that_is_not_there(compiled, tmp_path):
    path, program = compiled
    assert call("stats", path, "--segment", program.segment).exit_code == 0
    with pytest.raises(ArtifactError, match="no npu segment 'other'"):
        call("stats", path, "--segment", "other")
    (tmp_path / "text.byoc").write_text("no archive")
    with pytest.raises(ArtifactError, match="cannot be read as a compiled model"):
        call("disasm", tmp_path / "text.byoc")
