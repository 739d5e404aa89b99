"""The machines that npu could be: their areas, their cycles on each level, what they wait for."""

from __future__ import annotations

import random

import numpy as np
import pytest

import byoc
from benchmarks.dse import MODELS, designs, network, planted, rank_correlation
from byoc.dse import explore, parse_space
from byoc.errors import CompileError, OptionError
from byoc.vendor_templates.npu.compile import measure
from byoc.vendor_templates.npu.dse.area import area_by_unit, total_area
from byoc.vendor_templates.npu.dse.critical_path import critical_cycles
from byoc.vendor_templates.npu.machine.config import load_config

CHOICES = {
    "array.rows": [4, 8, 16, 32],
    "array.columns": [4, 8, 16, 32],
    "array.dataflow": ["weight-stationary", "output-stationary"],
    "activation.size": ["16KiB", "64KiB", "192KiB"],
    "activation.banks": [2, 8],
    "activation.word": ["array.rows", 8],
    "weight.size": ["8KiB", "64KiB"],
    "accumulator.size": ["8KiB", "64KiB"],
    "dma.width": [4, 16],
    "dma.outstanding": [4, 16],
    "vector.lanes": [2, 8, 16],
}


@pytest.fixture(scope="module")
def machines():
    return designs()


@pytest.fixture(scope="module")
def sample(machines):
    """Name of the model → (values, evaluations on the three levels) of random machines."""
    found = {}
    for name, real in machines.items():
        space = parse_space({"parameters": CHOICES}, real.knobs)
        rows = []
        for point in space.points(24, seed=3):
            values = space.values(point)
            try:
                rows.append((values, [real.evaluate(values, level) for level in real.levels]))
            except CompileError:  # too small for the model
                continue
        found[name] = rows
    return found


@pytest.mark.parametrize("model", MODELS)
def test_the_analytic_levels_order_machines_as_the_simulator_does(sample, model):
    columns = [[e[level].cycles[model] for _, e in sample[model]] for level in range(3)]
    assert len(columns[0]) >= 15
    assert rank_correlation(columns[1], columns[2]) >= 0.95
    assert rank_correlation(columns[0], columns[2]) >= 0.9


@pytest.mark.parametrize("model", MODELS)
def test_the_critical_path_explains_every_cycle(sample, model):
    for _, evaluations in sample[model][:8]:
        for item in evaluations[-1].detail:
            counters = measure(item.program, trace=True)
            found = critical_cycles(item.program.code, counters.trace)
            assert sum(found.values()) == counters.cycles
            assert all(found[unit] >= 0 for unit in counters.busy)


@pytest.mark.parametrize("model", MODELS)
def test_a_spoilt_knob_is_named_as_the_bottleneck(machines, model):
    found = [(knob, first) for knob, slower, first in planted(machines[model]) if slower >= 1.5]
    assert len(found) >= 8
    assert [first for _, first in found] == [knob for knob, _ in found]


def test_the_best_machine_beats_the_default_in_its_area_and_is_an_option(machines):
    real = machines["wide"]
    space = {
        "parameters": {
            "array.rows": [8, 16, 18, 20],
            "array.columns": [8, 16, 32],
            "activation.word": ["array.rows", 16],
            "vector.lanes": [2, 4, 8, 16],
            "dma.width": [8, 16, 32],
        }
    }
    found = explore(real, parse_space(space, real.knobs), {}, evaluations=6)
    assert found.best.score < 0.97
    assert all(found.best.area[name] <= found.default.area[name] for name in real.resources)
    config = dict(real.configuration(found.best.values))
    model = network("wide")
    built = byoc.compile(model, vendors={"npu": {"config": config}})
    notes = [note for artifact in built._program.artifacts for note in artifact.notes]
    assert any(note.startswith(f"{found.best.evaluation.cycles['wide']} cycles") for note in notes)
    x = np.random.default_rng(2).standard_normal((1, 3, 32, 32)).astype("float32")
    default = byoc.compile(model, vendors=["npu"])
    np.testing.assert_array_equal(np.asarray(built(x)), np.asarray(default(x)))


def test_machines_with_equal_code_are_told(machines):
    """Two sizes that hold everything give one program; another width does not."""
    real = machines["residual"]
    one, two = (real.evaluate({"weight.size": size}, "cycles") for size in (1 << 24, 1 << 25))
    assert one.cycles == two.cycles
    assert one.code == real.evaluate({"weight.size": 1 << 24}, "cycles").code
    assert one.code != real.evaluate({"weight.size": 1 << 24, "dma.width": 8}, "cycles").code


def test_area_never_falls_when_something_grows():
    rng = random.Random(0)
    for _ in range(60):
        values = {
            "array": {"rows": rng.choice([4, 16, 32]), "columns": rng.choice([4, 16, 32])},
            "activation": {"banks": rng.choice([1, 4, 8]), "word": rng.choice([4, 16])},
            "vector": {"lanes": rng.choice([1, 8, 32])},
            "dma": {"width": rng.choice([4, 16]), "outstanding": rng.choice([2, 16])},
        }
        small = load_config(values)
        for part, fields in values.items():
            for field, value in fields.items():
                large = load_config({**values, part: {**fields, field: 2 * value}})
                before, after = total_area(small), total_area(large)
                assert all(after[name] >= before[name] for name in before), (part, field)
                assert any(after[name] > before[name] for name in before), (part, field)


def test_the_default_machine_has_the_area_that_the_page_shows():
    units = area_by_unit(load_config())
    assert total_area(load_config()) == {"lut": 38412, "dsp": 340, "bram": 86}
    assert units["array"]["dsp"] == 256


def test_an_illegal_machine_is_told(machines):
    with pytest.raises(OptionError, match=r"array\.rows"):
        machines["residual"].area({"array.rows": 1000})
