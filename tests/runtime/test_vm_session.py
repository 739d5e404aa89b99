"""Models with symbolic shapes and control flow: the Relax VM behind the same Session."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from byoc.errors import ArtifactError, ExecutionError, InputError
from byoc.runtime import Session, VmProgram, load_program, save_program
from byoc.segment import Artifact


def _inputs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n, 4)).astype("float32") for _ in range(2))


def _check(session: Session, n: int, seed: int = 0) -> None:
    x, y = _inputs(n, seed)
    for condition in (np.True_, np.array(False)):
        z, s = session(x, y, condition)
        np.testing.assert_array_equal(s, x + 1)
        np.testing.assert_allclose(z, s + y if condition else s * y, rtol=1e-6)


def test_any_length_both_branches(vm_program):
    session = Session(vm_program)
    for n in (1, 3, 17, 0):
        _check(session, n)


def test_runs_from_memory_and_leaves_the_executable_alone(vm_program, vm_executable):
    class Host:
        module = vm_executable

        def export(self) -> bytes:
            raise NotImplementedError

    before = len(vm_executable.mod.imports)
    _check(Session(dataclasses.replace(vm_program, host=Host())), 5)
    assert len(vm_executable.mod.imports) == before  # still exportable


def test_unaligned_inputs_are_copied(vm_program):
    session = Session(vm_program)
    x, y = _inputs(6)
    shifted = np.zeros(6 * 4 * 4 + 4, np.uint8)[4:].view("float32").reshape(6, 4)
    shifted[...] = y
    shifted.flags.writeable = False
    z, _ = session(x, shifted, np.True_)
    np.testing.assert_allclose(z, x + 1 + y, rtol=1e-6)


def test_results_do_not_share_memory(vm_program):
    session = Session(vm_program)
    x, y = _inputs(4)
    z, s = session(x, y, np.True_)
    kept = z.copy()
    s[...] = 0
    session(y, x, np.True_)
    np.testing.assert_array_equal(z, kept)


def test_shapes_must_agree(vm_program):
    session = Session(vm_program)
    x, _ = _inputs(3)
    _, y = _inputs(5)
    cases = {
        "input 'y' has shape (5, 4), expected (n, 4): axis 0 is 5, expected 3 (n = 3 in input 'x'"
        " axis 0)": (x, y),
        "input 'x' has shape (4,) (1 dims), expected (n, 4) (2 dims)": (x[0], y),
        "input 'y' has shape (3, 2), expected (n, 4): axis 1 is 2, expected 4": (x, x[:, :2]),
    }
    for message, (a, b) in cases.items():
        with pytest.raises(InputError) as caught:
            session(a, b, np.True_)
        assert message in str(caught.value)


def test_a_failing_segment_is_named_and_the_session_goes_on(vm_program):
    artifact = Artifact("numpy_0", "numpy", b"x[0] + 1 if len(x[0]) < 5 else 1 / 0")
    session = Session(dataclasses.replace(vm_program, artifacts=(artifact,)))
    x, y = _inputs(6)
    with pytest.raises(
        ExecutionError, match="segment 'numpy_0' of vendor 'numpy' failed: .*division"
    ):
        session(x, y, np.True_)
    _check(session, 3)


def test_threads_share_a_session(vm_program):
    session = Session(vm_program)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for n in range(1, 25):
                _check(session, n, seed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_wrong_programs(vm_program, kernel_library):
    cases = {
        "has no function 'other'": dataclasses.replace(vm_program, body=VmProgram(entry="other")),
        "is not a Relax VM executable": dataclasses.replace(vm_program, host=kernel_library),
        "has no host library": dataclasses.replace(vm_program, host=None),
    }
    for message, program in cases.items():
        with pytest.raises(ArtifactError, match=message):
            Session(program)


def test_saved_and_run_without_tvm_imported(vm_program, tmp_path: Path):
    path = tmp_path / "dynamic.byoc"
    save_program(vm_program, path)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from pathlib import Path
from byoc.runtime import Session, load_program
from runtime_programs import NUMPY
session = Session(load_program(Path({str(path)!r}), lambda name: NUMPY))
for n in (1, 3, 17):
    x = np.ones((n, 4), "float32")
    assert (session(x, x, np.True_)[0] == 3).all() and (session(x, x, np.False_)[0] == 2).all()
assert "tvm" not in sys.modules
print("ok")
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.stdout == "ok\n", result.stderr


def test_loaded_in_this_process_too(vm_program, resolver, tmp_path: Path):
    save_program(vm_program, tmp_path / "dynamic.byoc")
    _check(Session(load_program(tmp_path / "dynamic.byoc", resolver)), 7)
