"""take of Relay in mode "wrap": indices go round and round, as far as they like."""

from __future__ import annotations

import numpy as np

import byoc

_TEXT = """#[version = "0.0.5"]
def @main(%x: Tensor[(4, 3), float32], %i: Tensor[(4), int32]) -> Tensor[(4, 3), float32] {
  take(%x, %i, axis=0, mode="wrap")
}
"""


def test_wrap_takes_every_index(tmp_path):
    path = tmp_path / "take.relay"
    path.write_text(_TEXT)
    x, index = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([5, -1, -9, 403], np.int32)
    np.testing.assert_array_equal(byoc.compile(path, vendors=[])(x, index), x[index % 4])
