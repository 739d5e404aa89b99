"""The npu as a vendor: whole models, refusals, faults, clocks."""

import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from npu_models import Net, residual_net, samples
from repeated_timing import least

import byoc
from byoc.errors import CompileError, ExecutionError, OptionError
from byoc.quantize import quantize_model
from byoc.vendor_templates.npu import VENDOR


@pytest.fixture(scope="module")
def net():
    model = residual_net()
    return quantize_model(model, samples(model, 8)).model


def final_scale(model):
    """Scale of the model's last quantisation: one step of its output."""
    scales = {t.name: t for t in model.graph.initializer}
    from onnx import numpy_helper

    last = [n for n in model.graph.node if n.op_type == "QuantizeLinear"][-1]
    return float(numpy_helper.to_array(scales[last.input[1]]))


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_one_segment_equal_to_onnxruntime(reference, activations):
    model = residual_net()
    quantised = quantize_model(model, samples(model, 8), activations=activations).model
    executable = byoc.compile(quantised, vendors=[VENDOR])
    assert len(executable.report.segments) == 1
    assert not [op for op in executable.report.ops if op.place == "host"]
    step = final_scale(quantised)
    for seed in range(5):
        x = samples(model, 1, 100 + seed)
        expected = next(iter(reference(quantised, {"x": x}).values()))
        assert np.ptp(expected) > 5 * step
        assert np.abs(executable(x) - expected).max() <= 2.01 * step


def test_loads_from_an_artifact(net, tmp_path):
    executable = byoc.compile(net, vendors=[VENDOR])
    executable.save(tmp_path / "net.byoc")
    x = samples(net, 1)
    from byoc.executable import Executable
    from byoc.runners import loaded_runner
    from byoc.runtime import load_program

    program = load_program(tmp_path / "net.byoc", lambda name: VENDOR.runtime)
    loaded = Executable(loaded_runner(program))
    assert (loaded(x) == executable(x)).all()


@pytest.mark.parametrize(
    "options",
    [
        {"residency": False},
        {"double_buffer": False},
        {"config": {"activation": {"size": "8KiB"}, "weight": {"size": "8KiB"}}},
        {"config": {"array": {"rows": 8, "columns": 32, "dataflow": "output-stationary"}}},
    ],
)
def test_every_machine_computes_the_same(net, options):
    x = samples(net, 1)
    expected = byoc.compile(net, vendors=[VENDOR])(x)
    assert (byoc.compile(net, vendors={VENDOR: options})(x) == expected).all()


def test_calls_from_several_threads(net):
    executable = byoc.compile(net, vendors=[VENDOR])
    inputs = [samples(net, 1, seed) for seed in range(6)]
    expected = [executable(x) for x in inputs]
    wrong = []

    def run(k):
        for _ in range(5):
            if not (executable(inputs[k]) == expected[k]).all():
                wrong.append(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- refusals ------------------------------------------------------------------------------------


def reasons(model, **options):
    quantised = quantize_model(model, samples(model, 4), **options).model
    result = byoc.partition_model(quantised, vendors=[VENDOR])
    return " | ".join(refusal.reason for op in result.report.ops for refusal in op.refusals)


def test_float_models_are_refused():
    net = Net([1, 4, 8, 8])
    net.conv(4, 4, 3)
    found = byoc.partition_model(net.model(), vendors=[VENDOR]).report
    assert not found.segments


def test_refuses_large_windows():
    net = Net([1, 512, 24, 24])
    net.conv(512, 2, 23, pads=[0, 0, 0, 0])
    assert "kernel 23x23x512 does not fit the activation scratchpad: one window is 264 KiB" in (
        reasons(net.model())
    )


def test_refuses_windows_in_the_padding():
    net = Net([1, 4, 8, 8])
    net.conv(4, 4, 1, pads=[1, 1, 1, 1])
    assert "a window of 1 lies wholly in the padding of 1" in reasons(net.model())


def test_refuses_asymmetric_weights():
    from onnx import numpy_helper

    net = Net([1, 4, 8, 8])
    net.conv(4, 4, 3)
    model = quantize_model(net.model(), samples(net.model(), 2)).model
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight_zero_point"):
            zero = numpy_helper.to_array(tensor) + np.int8(3)
            tensor.CopyFrom(numpy_helper.from_array(zero, tensor.name))
    report = byoc.partition_model(model, vendors=[VENDOR]).report
    text = " ".join(r.reason for op in report.ops for r in op.refusals)
    assert "weights are asymmetric (zero point 3); the npu takes symmetric weights" in text


def test_a_small_machine_refuses_when_it_compiles(net):
    config = {"activation": {"size": 1024}, "accumulator": {"size": 256}}
    with pytest.raises(CompileError, match="npu: op .* does not fit"):
        byoc.compile(net, vendors={VENDOR: {"config": config}})


def test_options_are_checked(net):
    for options, message in [
        ({"clok": "fast"}, "clok"),
        ({"clock": "slow"}, "'fast' or 'paced'"),
        ({"config": {"array": {"rows": 0}}}, "array.rows"),
        ({"faults": [{"kind": "wrnog"}]}, "wrnog"),
        ({"faults": [{"kind": "wrong", "probability": 2}]}, "probability"),
    ]:
        with pytest.raises(OptionError, match=message):
            byoc.compile(net, vendors={VENDOR: options})


# -- faults --------------------------------------------------------------------------------------


def faulty(net, *faults, **options):
    return byoc.compile(net, vendors={VENDOR: {"faults": list(faults), **options}}, heal=False)


def test_wrong_value_and_nan(net):
    x = samples(net, 1)
    right = byoc.compile(net, vendors=[VENDOR])(x)
    wrong = faulty(net, {"kind": "wrong"})(x)
    assert (wrong != right).sum() == 1
    nan = faulty(net, {"kind": "nan"})(x)
    assert np.isnan(nan).sum() == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("status", "the device reports status 0x2f"),
        ("exception", "assertion failed"),
        ("oom", "out of device memory"),
    ],
)
def test_errors_name_the_segment(net, kind, message):
    with pytest.raises(ExecutionError, match=message) as error:
        faulty(net, {"kind": kind})(samples(net, 1))
    assert "npu_0" in str(error.value)


def test_only_the_nth_call_and_only_its_segment(net):
    x = samples(net, 1)
    executable = faulty(net, {"kind": "status", "call": 2})
    executable(x)
    with pytest.raises(ExecutionError, match="injected at call 2"):
        executable(x)
    executable(x)
    faulty(net, {"kind": "status", "segment": "other_*"})(x)


def test_probability_is_seeded(net):
    x = samples(net, 1)

    def pattern(seed):
        executable = faulty(net, {"kind": "status", "probability": 0.5, "seed": seed})
        outcome = []
        for _ in range(24):
            try:
                executable(x)
                outcome.append(True)
            except ExecutionError:
                outcome.append(False)
        return outcome

    first = pattern(1)
    assert 4 < sum(first) < 20
    assert pattern(1) == first != pattern(2)


def test_refuses_to_build(net):
    with pytest.raises(CompileError, match="refused \\(injected fault\\)"):
        faulty(net, {"kind": "refuse"})


def seconds(executable, x) -> float:
    """What one call takes."""
    begin = time.monotonic()
    executable(x)
    return time.monotonic() - begin


def modelled(executable, config) -> float:
    """Seconds that the only segment takes by the model of the accelerator, at this clock."""
    (artifact,) = executable._program.artifacts
    return int(artifact.notes[1].split()[0]) / (config["clock_mhz"] * 1e6)


def test_hangs_and_slows_down(net):
    x = samples(net, 1)
    executable = faulty(net, {"kind": "hang", "seconds": 0.3, "call": 1})
    start = time.monotonic()
    executable(x)
    assert time.monotonic() - start >= 0.3
    config = {"clock_mhz": 0.5}
    slow = faulty(net, {"kind": "slow", "factor": 5}, clock="paced", config=config)
    assert seconds(slow, x) >= 5 * modelled(slow, config)
    plain = byoc.compile(net, vendors={VENDOR: {"clock": "paced", "config": config}})
    limit = 5 * modelled(plain, config)
    assert least(lambda: seconds(plain, x), limit) < limit


def test_crash_ends_the_process(net, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(net.SerializeToString())
    script = f"""
        import numpy as np, byoc
        from byoc.vendor_templates.npu import VENDOR
        options = {{"faults": [{{"kind": "crash"}}]}}
        executable = byoc.compile({str(path)!r}, vendors={{VENDOR: options}})
        print("built", flush=True)
        executable(np.zeros((1, 3, 19, 17), np.float32))
        print("survived")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert "built" in done.stdout and "survived" not in done.stdout
    assert done.returncode < 0


# -- clocks --------------------------------------------------------------------------------------


def test_paced_answers_after_the_modelled_time(net):
    config = {"clock_mhz": 0.5}
    paced = byoc.compile(net, vendors={VENDOR: {"clock": "paced", "config": config}})
    assert seconds(paced, samples(net, 1)) >= modelled(paced, config)
