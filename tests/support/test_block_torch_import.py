"""TVM imports PyTorch only for programs that do, before or after byoc."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import byoc

pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def saved(zoo, tmp_path_factory):
    """A model with a segment and host kernels, in a file."""
    path = tmp_path_factory.mktemp("saved") / "branch.byoc"
    exe = byoc.compile(zoo("branch"), ["dnnl"])
    exe.save(path)
    shape, dtype = exe.inputs[0].type.shape, exe.inputs[0].type.dtype
    x = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape).astype(dtype)
    np.savez(path.with_suffix(".npz"), x=x, y=exe(x))
    return path


def test_loading_and_running_imports_no_torch(saved):
    assert (
        run(
            f"""
            import sys
            import byoc, byoc.runtime
            import numpy as np
            kept = np.load({str(saved.with_suffix(".npz"))!r})
            exe = byoc.load({str(saved)!r})
            print(np.array_equal(exe(kept["x"]), kept["y"]), exe.submit(kept["x"]).result() is None)
            print(exe.report is None, exe.profile(kept["x"]) is None)
            print([m for m in ("torch", "tvm") if m in sys.modules])
            """
        )
        == "True False\nFalse False\n[]"
    )


@pytest.mark.parametrize("late", [False, True])
def test_tensors_of_torch_work_whichever_is_imported_first(saved, late):
    before, after = ("", "import torch") if late else ("import torch", "")
    assert (
        run(
            f"""
            import sys
            {before}
            import byoc
            import numpy as np
            exe = byoc.load({str(saved)!r})
            {after}
            kept = np.load({str(saved.with_suffix(".npz"))!r})
            x = torch.from_numpy(kept["x"])
            print(np.array_equal(exe(x), kept["y"]))
            print(np.array_equal(exe.submit(x).result(), kept["y"]))
            import tvm_ffi
            print(type(tvm_ffi.convert(lambda t: t)(x)).__name__)
            print(*(tvm_ffi.convert(d) for d in (torch.half, torch.bfloat16, torch.bool)))
            print(hasattr(tvm_ffi.stream, "TorchStreamContext"))
            print(tvm_ffi.use_torch_stream is tvm_ffi.stream.use_torch_stream)
            """
        )
        == "True\nTrue\nTensor\nfloat16 bfloat16 bool\nTrue\nTrue"
    )


def test_tvm_without_torch_and_torch_after_it():
    assert run(
        """
        import sys
        import byoc.compiler
        from tvm import relax
        before = "torch" in sys.modules
        import torch
        import tvm
        from tvm.relax.base_py_module import to_dlpack_legacy
        print(before, tvm.runtime.from_dlpack(torch.ones(3)).numpy().sum())
        print(to_dlpack_legacy is torch.utils.dlpack.to_dlpack, torch.__spec__.loader.path[-3:])
        """
    ).split() == ["False", "3.0", "True", ".py"]


def test_others_find_torch_without_importing_it():
    assert (
        run(
            """
            import sys
            import byoc
            from importlib.util import find_spec
            print(find_spec("torch").name, "torch" in sys.modules)
            """
        )
        == "torch False"
    )


def test_a_tvm_ffi_of_another_make_does_not_keep_torch_from_its_import():
    assert (
        run(
            """
            import byoc
            import tvm_ffi
            del tvm_ffi._convert
            import torch
            print(torch.ones(2).sum().item())
            """
        )
        == "2.0"
    )


def test_the_command_line_leaves_torch_out(zoo):
    assert run(
        f"""
        import sys
        sys.argv = ["byoc", "partition", {str(zoo("mlp"))!r}, "--vendors", "dnnl"]
        from byoc.cli import main
        try:
            main()
        except SystemExit as end:
            print(end.code, "tvm" in sys.modules, "torch" in sys.modules)
        """
    ).endswith("0 True False")
