"""Source that others have written: the models of the installed transformers package."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from pathlib import Path

import pytest

from byoc.adopt import analyse, changed, compatible
from byoc.adopt.source import SourceProject
from byoc.plugins.discovery import find

_SPEC = importlib.util.find_spec("transformers")
FILES = (
    sorted(Path(_SPEC.origin).parent.glob("models/*/modeling_*.py"))
    if _SPEC is not None and _SPEC.origin
    else []
)
pytestmark = pytest.mark.skipif(not FILES, reason="transformers is not installed")


def read(files):
    """Analyse files; every change is Python again, and a second look finds nothing more."""
    rules = Counter()
    for path in files:
        project = SourceProject()
        found = analyse(path, [find("dnnl")], project=project)
        rules.update(f.rule for f in found)
        new = changed(compatible(found), project)
        if new:
            again = analyse(path, [find("dnnl")], project=SourceProject(new))
            assert again == [], (path, again)
    return rules


def test_a_share_of_the_models_is_read():
    assert read(FILES[::40])["fused-qkv"] >= 1


@pytest.mark.slow
def test_all_models_are_read_in_time():
    start = time.process_time()
    for path in FILES:
        analyse(path, [find("dnnl")])
    assert time.process_time() - start <= 90


@pytest.mark.slow
def test_no_change_of_any_model_leaves_something_to_change():
    assert read(FILES)["fused-qkv"] >= 50
