"""The `Examples:` blocks of the entry points run, on a small model, and show what they say."""

import doctest
import inspect

import numpy as np
import pytest

import byoc
from byoc.frontends import import_model
from byoc.partition import Policy, Rule, partition_module, what_if
from byoc.partition.placing import Costs, Strategy
from byoc.plugins.discovery import find
from byoc.report import report_from_json
from byoc.testing.zoo import build
from byoc.vendor import Rates

ENTRY_POINTS = [
    byoc.compile,
    byoc.partition_model,
    byoc.load,
    byoc.vendors,
    import_model,
    partition_module,
    what_if,
    Policy,
    Rule,
    Costs,
    Strategy,
    report_from_json,
    byoc.PartitionReport.rows,
    byoc.PartitionReport.why,
    *(
        getattr(byoc.Executable, name)
        for name in (
            "__call__", "run", "submit", "acall", "map", "profile", "save", "wait", "close",
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def names():
    """What examples may use: byoc, a model of one input, an executable of it, and an input."""
    model = build("mlp", batch=1, features=8, hidden=16, classes=10)
    exe = byoc.compile(model, vendors=["dnnl"])
    public = (import_model, partition_module, what_if, Policy, Rule, Costs, Strategy, Rates,
              report_from_json)  # fmt: skip
    return {
        **{value.__name__: value for value in public},
        "byoc": byoc,
        "model": model,
        "mod": import_model(model).mod,
        "vendor": find("dnnl"),
        "exe": exe,
        "x": np.ones((1, 8), np.float32),
    }


@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: entry.__qualname__)
def test_the_example_of_an_entry_point_runs(entry, names, tmp_path):
    text = inspect.getdoc(entry)
    assert "Examples:" in text
    example = text[text.index("Examples:") :]
    test = doctest.DocTestParser().get_doctest(
        example, {**names, "folder": tmp_path}, entry.__qualname__, None, None
    )
    assert test.examples
    told = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert tried and not failed, "".join(told)


@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: entry.__qualname__)
def test_an_entry_point_tells_what_it_takes_and_gives(entry):
    text = inspect.getdoc(entry)
    parameters = [p for p in inspect.signature(entry).parameters.values() if p.name != "self"]
    section = "Attributes" if inspect.isclass(entry) else "Args"
    if parameters:
        assert f"\n{section}:\n" in text
    for parameter in parameters:
        assert f"\n    {parameter.name}: " in text, parameter.name
