"""Shared by all tests: one quiet thread, golden files, models of the zoo."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

# Before anything starts threads: spinning threads on a busy machine cost ten times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Engines of tests are built when they are wanted; tests that keep them say where.
os.environ["BYOC_ENGINE_BYTES"] = "0"

import hypothesis
import numpy as np
import onnx
import pytest

ROOT = Path(__file__).parents[1]
# For `byoc.testing.zoo`. At the end: the checkout's own byoc/ must not hide the installed one.
sys.path.append(str(ROOT))

# An example may take as long as a busy machine makes it.
hypothesis.settings.register_profile("byoc", deadline=None)
hypothesis.settings.load_profile("byoc")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing"
    )
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or "slow" in (config.option.markexpr or ""):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(text, "name.txt")`` compares with the file ``golden/name.txt`` beside the test.

    ``pytest --update-golden`` writes the file instead.
    """
    folder = request.path.parent / "golden"

    def check(text: str, name: str) -> None:
        path = folder / name
        if request.config.getoption("--update-golden"):
            folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing; write it with --update-golden"
        expected = path.read_text(encoding="utf-8")
        assert text == expected, f"differs from {path}; when right, run with --update-golden"

    return check


@pytest.fixture(scope="session")
def zoo() -> Callable[..., Path]:
    """``zoo("resnet50", seed=0, **options)`` is the path of a model, built once per checkout."""
    from byoc.testing.zoo import model_path

    return model_path


@pytest.fixture(scope="session")
def reference() -> Callable[..., dict[str, np.ndarray]]:
    """``reference(model, inputs)`` runs a path or `onnx.ModelProto` in ONNX Runtime, by name."""
    import onnxruntime as ort

    def run(model: Path | onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
        session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run
