"""The cycle model: closed forms, bounds, and Python's formulas against the simulator's."""

import dataclasses
from math import ceil

import numpy as np
import pytest
from npu_programs import COMPUTE, HALT, LOAD, VECTOR, gemm, ins
from npu_reference import random_config, random_graph

from byoc.vendor_templates.npu.compile import build, measure
from byoc.vendor_templates.npu.isa.instructions import OPS, decode, encode
from byoc.vendor_templates.npu.lowering.int8_graph import Border, Conv, Int8Graph, Window
from byoc.vendor_templates.npu.machine.config import NpuConfig, load_config
from byoc.vendor_templates.npu.machine.simulator import time_code
from byoc.vendor_templates.npu.planning.cycle_model import (
    ConvReads,
    ceil_div,
    conv_cycles,
    copy_cycles,
)
from byoc.vendor_templates.npu.planning.plans import Settings

CONFIG = load_config()
R, C = CONFIG.array.rows, CONFIG.array.columns
MEMORY = 1 << 20


def cycles(*stream, config=CONFIG, trace=False):
    return time_code(config, encode([*stream, HALT]), MEMORY, MEMORY, trace)


def test_one_gemm_that_fits():
    m, k, n = 100, 64, 32
    counters = cycles(gemm(m, k, n))
    assert counters.macs == m * k * n
    assert counters.busy["compute"] == R + (k // R) * (n // C) * m
    assert counters.cycles == counters.busy["compute"] + R + C - 2


def test_short_gemm_is_bound_by_loading_weights():
    assert cycles(gemm(1, 64, 32)).busy["compute"] == R + (64 // R) * (32 // C) * R


def test_output_stationary_gemm():
    config = NpuConfig.model_validate({"array": {"dataflow": "output-stationary"}})
    counters = cycles(gemm(100, 64, 32), config=config)
    assert counters.busy["compute"] == ceil(100 / R) * 2 * 64
    assert counters.cycles == counters.busy["compute"] + 2 * R + C - 2


def test_dma_bound_copy():
    dma = CONFIG.dma
    counters = cycles(ins("load", bytes=8000))
    assert counters.cycles == 8000 // dma.width + dma.latency
    assert counters.bytes_loaded == 8000
    rows = cycles(ins("load", bytes=16, rows=100, dram_row=64, spm_row=16))
    assert rows.busy["load"] == ceil(100 * dma.latency / dma.outstanding)  # one request a row
    joined = cycles(ins("load", bytes=16, rows=100, dram_row=16, spm_row=16))
    assert joined.busy["load"] == 100


def test_bank_conflicts():
    """Four rows of a kernel whose pixels lie in one bank: four reads where one would do."""
    word, banks = CONFIG.activation.word, CONFIG.activation.banks
    stride = word * banks
    step = ins(
        "conv", in_h=4, in_w=50, x_row=stride * 50, x_pix=stride, channels=4, kh=4, kw=1,
        out_w=50, n=16, k_count=16,
    )  # fmt: skip
    counters = cycles(step)
    assert counters.busy["compute"] == R + 50 * 4
    assert counters.conflict_cycles == 50 * 3


def chain(buffers, tiles=6, m=64, k=64, n=32):
    """Load and multiply `tiles` times, over `buffers` input buffers."""
    stream = []
    for i in range(tiles):
        slot = i % buffers * m * k
        stream.append(
            ins("load", bytes=m * k, spm=slot, signal=COMPUTE, wait=COMPUTE if i >= buffers else 0)
        )
        last = i + buffers >= tiles
        stream.append(gemm(m, k, n, x=slot, wait=LOAD, signal=0 if last else LOAD))
    return cycles(*stream)


def test_double_buffered_chain():
    tiles, m, k, n = 6, 64, 64, 32
    load, latency = m * k // CONFIG.dma.width, CONFIG.dma.latency
    compute, drain = R + (k // R) * (n // C) * m, R + C - 2
    assert compute > load + latency + drain  # so that two buffers hide the loads
    double, single = chain(2), chain(1)
    assert double.cycles == load + latency + tiles * compute + drain
    assert single.cycles == tiles * (load + latency + compute + drain)
    assert single.stall["compute"] == tiles * (load + latency) + (tiles - 1) * drain


def test_requant_overlaps_next_gemm():
    m, k, n = 128, 64, 32
    half = CONFIG.acc_words // 2
    stream = []
    for i in range(4):
        stream.append(gemm(m, k, n, acc=i % 2 * half, signal=VECTOR, wait=VECTOR if i > 1 else 0))
        stream.append(
            ins(
                "requant", acc=i % 2 * half, out_w=m, n=n, y_pix=n, wait=COMPUTE,
                signal=COMPUTE if i < 2 else 0,
            )
        )  # fmt: skip
    one = R + (k // R) * (n // C) * m
    vector = m * n // CONFIG.vector.lanes
    assert cycles(*stream).cycles == 4 * one + R + C - 2 + vector + CONFIG.vector.latency


def test_fence_waits_for_all():
    counters = cycles(ins("load", bytes=1024), ins("fence"), gemm(16, 16, 16), trace=True)
    assert counters.trace[2][0] == counters.trace[0][2] == 64 + CONFIG.dma.latency


def random_field(rng, name, f):
    small = {"x_row": 4096, "x_pix": 128, "k_begin": 64, "k_count": 200, "n": 100, "channels": 64}
    top = min(f.high, small.get(name, 9 if f.width <= 8 else 60))
    return int(rng.integers(max(f.low, -4), top, endpoint=True))


def busy_cycles(config, op, fields):
    """Cycles that any instruction occupies its unit, by the compiler's formulas."""
    if op in ("load", "store"):
        return copy_cycles(config, fields)
    if op in ("halt", "fence"):
        return 0
    pixels, n = fields["out_h"] * fields["out_w"], fields["n"]
    if op == "conv":
        reads = ConvReads(**{name: fields[name] for name in ConvReads.__dataclass_fields__})
        begin, count = fields["k_begin"], fields["k_count"]
        return conv_cycles(config, pixels=pixels, n=n, reads=reads, begin=begin, count=count)
    taps = fields.get("kh", 1) * fields.get("kw", 1)
    if op == "dwconv":
        return config.array.rows + ceil_div(n, config.array.columns) * taps * pixels
    return pixels * taps * ceil_div(n, config.vector.lanes)


def test_compiler_and_simulator_cost_alike():
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(600):
        config = random_config(rng)
        op = list(OPS.values())[rng.integers(2, len(OPS))]
        fields = {n: random_field(rng, n, f) for n, f in op.fields.items()}
        if op.name == "conv":
            fields["k_count"] = min(
                fields["k_count"], fields["kh"] * fields["kw"] * fields["channels"]
            )
            fields["k_begin"] = 0
        if "params" in fields:
            fields["params"] = 0
        try:
            found = time_code(config, encode([ins(op.name, **fields), HALT]), MEMORY, MEMORY)
        except ValueError:
            continue
        compared += 1
        assert found.busy[op.unit] == busy_cycles(config, op.name, fields), (op.name, fields)
    assert compared > 200


def test_never_below_the_lower_bound():
    rng = np.random.default_rng(3)
    for _ in range(60):
        graph, config = random_graph(rng, 2), random_config(rng)
        try:
            program, _ = build(graph, config)
        except Exception as error:
            assert "does not fit" in str(error)
            continue
        found = measure(program)
        bound = max(
            found.macs / config.peak_macs,
            found.bytes_loaded / config.dma.width,
            found.bytes_stored / config.dma.width,
        )
        assert found.cycles >= bound
        assert found.cycles >= max(found.busy.values())


def conv_graph(h, c, n, kernel, stride=1):
    pad = kernel // 2
    out = (h + 2 * pad - kernel) // stride + 1
    rng = np.random.default_rng(0)
    graph = Int8Graph("conv", inputs=1, outputs=1)
    x, y = graph.new(h * h * c, 1.0, 0), graph.new(out * out * n, 1.0, 0)
    graph.operations.append(
        Conv(
            x, y, (1, h, h, c), (1, out, out, n),
            Window((kernel,) * 2, (stride,) * 2, (1, 1), (pad,) * 2), 1,
            rng.integers(-9, 9, (n, kernel, kernel, c)).astype(np.int8), np.zeros(n, np.int32),
            np.full(n, 1 / 256, np.float32), 0, 0, source="conv",
        )
    )  # fmt: skip
    graph.feeds.append(Border(x, 0, (h * h * c,), (0,), "int8", 1.0, 0))
    graph.results.append(Border(y, 0, (out * out * n,), (0,), "int8", 1.0, 0))
    return graph


@pytest.mark.parametrize(
    ("h", "c", "n", "kernel"),
    [(56, 64, 64, 3), (56, 64, 256, 1), (28, 128, 128, 3), (14, 256, 256, 3), (7, 512, 512, 3)],
)
def test_convolutions_of_resnet_use_the_array(h, c, n, kernel):
    program, _ = build(conv_graph(h, c, n, kernel), CONFIG)
    assert measure(program).utilisation(CONFIG) > 0.85


def test_double_buffering_pays_as_predicted():
    graph = conv_graph(56, 64, 256, 1)
    both = {}
    for double in (True, False):
        program, placement = build(graph, CONFIG, Settings(double_buffer=double))
        both[double] = measure(program).cycles
        assert placement.plans[0].cycles == pytest.approx(both[double], rel=0.15)
    assert both[False] > 1.2 * both[True]


def test_trace_is_consistent():
    program, _ = build(conv_graph(28, 32, 32, 3), CONFIG)
    found = measure(program, trace=True)
    assert len(found.trace) == found.instructions == len(decode(program.code))
    assert all(start <= free <= done for start, free, done in found.trace)
    assert max(done for *_, done in found.trace) == found.cycles
    assert dataclasses.replace(found, trace=()) == measure(program)
