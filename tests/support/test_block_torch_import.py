"""byoc's own processes leave PyTorch out of TVM, and torch still works there."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_tvm_without_torch_and_torch_after_it():
    assert run(
        """
            import sys
            from byoc.support.block_torch_import import leave_torch_out
            leave_torch_out()
            leave_torch_out()
            import byoc.compiler
            from tvm import relax
            before = "torch" in sys.modules
            import torch
            import tvm
            print(before, tvm.runtime.from_dlpack(torch.ones(3)).numpy().sum())
            """
    ).split() == ["False", "3.0"]


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


def test_a_program_that_imports_byoc_is_left_alone():
    assert run("import sys, byoc.compiler, tvm; print('torch' in sys.modules)") == "True"
