"""Random layers: compiled and simulated, equal to the reference to the bit."""

import dataclasses

import numpy as np
import pytest
from npu_reference import (
    HALF_EVEN,
    divide,
    evaluate,
    random_config,
    random_graph,
    scaled,
    shifted,
    single,
    summed,
)

from byoc.errors import CompileError
from byoc.vendor_templates.npu.compile import build
from byoc.vendor_templates.npu.isa.instructions import UNITS, decode, encode
from byoc.vendor_templates.npu.machine.simulator import run_code
from byoc.vendor_templates.npu.planning.plans import Settings

BLOCK = 250


def with_rounding(code, mode):
    """The stream with another rounding mode in every instruction that rounds."""
    return encode(
        dataclasses.replace(i, fields={**i.fields, "rounding": mode})
        if "rounding" in i.fields
        else i
        for i in decode(code)
    )


def another_order(code, rng):
    """The stream as another legal schedule: units run ahead as far as tokens let them."""
    queues = {unit: [] for unit in range(len(UNITS))}
    *body, halt = decode(code)
    from byoc.vendor_templates.npu.isa.instructions import OPS

    for instruction in body:
        queues[UNITS.index(OPS[instruction.op].unit)].append(instruction)
    tokens = np.zeros((len(UNITS), len(UNITS)), int)
    heads = dict.fromkeys(queues, 0)
    order = list(queues)
    rng.shuffle(order)
    result = []
    while len(result) < len(body):
        for unit in order:
            if heads[unit] == len(queues[unit]):
                continue
            instruction = queues[unit][heads[unit]]
            waits = [u for u in queues if instruction.wait >> u & 1]
            if all(tokens[u, unit] for u in waits):
                for u in waits:
                    tokens[u, unit] -= 1
                for u in queues:
                    tokens[unit, u] += instruction.signal >> u & 1
                heads[unit] += 1
                result.append(instruction)
                break
        else:
            raise AssertionError("deadlock")
    return encode([*result, halt])


def place_inputs(graph, program, rng):
    work = rng.integers(-128, 128, program.work_bytes).astype(np.int8)  # what was there before
    inputs = {}
    for border, feed in zip(graph.feeds, program.feeds, strict=True):
        size = graph.tensors[border.tensor].nbytes
        inputs[border.tensor] = rng.integers(-128, 128, size).astype(np.int8)
        work[feed["offset"] : feed["offset"] + size] = inputs[border.tensor]
    return work, inputs


def check(seed, length=1):
    """True when the layer was compiled and compared, False when it was refused."""
    rng = np.random.default_rng(seed)
    graph, config = random_graph(rng, length), random_config(rng)
    settings = Settings(bool(rng.random() < 0.7), bool(rng.random() < 0.7))
    mode = int(rng.integers(4)) if rng.random() < 0.5 else HALF_EVEN
    try:
        program, _ = build(graph, config, settings)
    except CompileError as error:
        assert "does not fit" in str(error), error
        return False
    work, inputs = place_inputs(graph, program, rng)
    expected = evaluate(graph, inputs, mode)[graph.results[0].tensor]
    start = program.results[0]["offset"]
    code = with_rounding(program.code, mode)
    for stream in (code, another_order(code, rng)):
        found = run_code(config, stream, program.constants, work)[start : start + expected.size]
        assert (found == expected).all(), (
            f"seed {seed}: {(found != expected).sum()} of {expected.size} values differ: "
            f"{graph.operations}"
        )
    return True


def test_reference_rounds_as_exact_integers_do():
    rng = np.random.default_rng(0)
    for mode in range(4):
        value = rng.integers(-(2**52), 2**52, 500) >> rng.integers(0, 50, 500)
        shift = rng.integers(0, 62, 500)
        assert (shifted(value, shift, mode) == divide(value, shift, mode).astype(np.int64)).all()


def test_reference_has_the_floats_of_ieee_754():
    rng = np.random.default_rng(0)
    value = rng.integers(-(2**31), 2**31, 5000) >> rng.integers(0, 31, 5000)
    assert (single(value) == value.astype(np.float32).astype(np.int64)).all()
    scale = (rng.uniform(1, 2, 5000) * 2.0 ** rng.integers(-20, 0, 5000)).astype(np.float32)
    product = value.astype(np.float32) * scale
    assert (scaled(value, scale, HALF_EVEN) == np.rint(product).astype(np.int64)).all()
    for _ in range(200):
        a, b = rng.integers(-255, 256, (2, 100))
        m1, m2, c = (np.float32(v) for v in rng.uniform(0.01, 2.0, 3))
        inner = (b * float(m2) + float(c)).astype(np.float32)  # exact in float64 before
        total = (a * float(m1) + inner.astype(np.float64)).astype(np.float32)
        assert (summed(a, m1, b, m2, c, HALF_EVEN) == np.rint(total)).all()


def test_random_layers():
    compared = sum(check(seed) for seed in range(200))
    assert compared > 180


def test_random_chains():
    compared = sum(check(10_000 + seed, length=4) for seed in range(60))
    assert compared > 50


@pytest.mark.slow
@pytest.mark.parametrize("block", range(5000 // BLOCK))
def test_five_thousand_random_layers(block):
    first = 20_000 + block * BLOCK
    compared = sum(check(seed, length=1 + (seed % 5 == 0)) for seed in range(first, first + BLOCK))
    assert compared > BLOCK * 9 // 10
