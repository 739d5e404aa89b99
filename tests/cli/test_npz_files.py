"""Files of arrays that mean harm."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from byoc.cli.inputs.arrays import read_npz
from byoc.errors import InputError


def header(shape, dtype="<f4"):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return out.getvalue()


def test_compressed_arrays_are_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((1000, 1000), "f4"), y=np.arange(3))
    found = read_npz(path)
    assert found["x"].shape == (1000, 1000) and found["y"].tolist() == [0, 1, 2]


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "x.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((80 << 20,)))
        for _ in range(320):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="would unpack to 335,544,4.* up to 100 times the file"):
        read_npz(path)


def test_a_shape_that_no_memory_holds(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header((1 << 46,)) + bytes(64))
    with pytest.raises(InputError, match="x.npz.*claims too many elements"):
        read_npz(path)


def test_one_unnamed_array_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(InputError, match="unnamed"):
        read_npz(tmp_path / "x.npy")
