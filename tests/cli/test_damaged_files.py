"""Files that were damaged on the way: every command that reads them says so, none falls over."""

from __future__ import annotations

import random
import zipfile

import numpy as np
import pytest
from test_artifact_commands import artifact, onnx_file  # noqa: F401 (fixtures)


def damages(good: bytes, count: int, seed: int = 0):
    """Flipped bits and truncations, in turns, as (what was done, bytes)."""
    rng = random.Random(seed)
    for number in range(count):
        if number % 3 == 2:
            size = rng.randrange(len(good))
            yield f"cut to {size} of {len(good)} bytes", good[:size]
            continue
        bad = bytearray(good)
        place, bit = rng.randrange(len(good)), rng.randrange(8)
        bad[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} flipped", bytes(bad)


def test_check_run_and_inspect_name_what_is_wrong(cli, artifact, tmp_path, request):  # noqa: F811
    """`cli` lets everything through that the command line would show as a traceback."""
    count = 1_500 if request.config.getoption("--slow") else 60
    path, x = tmp_path / "bad.byoc", tmp_path / "x.npz"
    np.savez(x, x=np.ones((2, 8), "float32"))
    for what, data in damages(artifact.read_bytes(), count):
        path.write_bytes(data)
        checked = cli("check", path)
        assert checked.status == 1 and "does not run here" in checked.out, what
        assert any(w in checked.out for w in ("damaged", "cut short", "not a .byoc file")), what
        run = cli("run", path, "--inputs", x)
        assert run.status == 1 and str(path) in run.err and not run.out, what
        looked = cli("inspect", path)  # reads the manifest alone
        assert looked.status in (0, 1), what
        if looked.status:
            assert str(path) in looked.err and not looked.out, what
        assert "Traceback" not in checked.err + run.err + looked.err


@pytest.mark.parametrize("member", ["manifest.json", "plan.json", "host.so", "weights.bin"])
def test_the_member_is_named(cli, artifact, tmp_path, member):  # noqa: F811
    data = bytearray(artifact.read_bytes())
    with zipfile.ZipFile(artifact) as archived:
        content = archived.read(member)
    assert content
    data[data.find(content[:64]) + len(content) // 2] ^= 16
    path = tmp_path / "bad.byoc"
    path.write_bytes(data)
    assert f"member '{member}' is damaged" in cli("check", path).out
    assert f"member '{member}' is damaged" in cli("profile", path).err
    looked = cli("inspect", path)
    assert looked.status == (member == "manifest.json")
