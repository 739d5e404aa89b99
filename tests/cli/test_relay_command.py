"""A Relay model on the command line: text with a file of parameters."""

from __future__ import annotations

import pytest

from byoc.testing.zoo.relay_nets import mobilenet


@pytest.fixture
def files(tmp_path):
    net = mobilenet(image=16, width=4, classes=3)
    (tmp_path / "net.relay").write_text(net.text("params"))
    (tmp_path / "net.params").write_bytes(net.params())
    return tmp_path


def test_partition_takes_parameters(cli, files):
    found = cli("partition", files / "net.relay", "--params", files / "net.params", "--vendors",
                "dnnl", "--json")  # fmt: skip
    assert found.status == 0, found.err
    assert found.json()["coverage"]["flops"] == 1.0


def test_compile_takes_parameters(cli, files):
    out = files / "net.byoc"
    found = cli("compile", files / "net.relay", "--params", files / "net.params", "-o", out,
                "--vendors", "dnnl", "--json")  # fmt: skip
    assert found.status == 0, found.err
    assert found.json()["coverage"]["flops"] == 1.0
    assert '"data"' in cli("inspect", out, "--json").out


def test_a_damaged_file_is_one_message_with_its_place(cli, files):
    path = files / "net.relay"
    path.write_text(path.read_text().replace("nn.conv2d", "nn.conv9d", 1))
    found = cli("compile", path, "--params", files / "net.params", "-o", files / "o.byoc")
    assert found.status == 1
    assert f"{path}:3:8: nn.conv9d: byoc does not read this operator" in found.err
    assert "Traceback" not in found.err


def test_damaged_parameters_are_named_by_their_byte(cli, files):
    path = files / "net.params"
    path.write_bytes(path.read_bytes()[:100])
    found = cli("partition", files / "net.relay", "--params", path)
    assert found.status == 1
    assert f"{path}: byte " in found.err
