"""A good vendor, and copies of it, wrong in one place each: conformance must find every one.

The good one takes matrix products and convolutions of float32 with bias, residual, ReLU or clip,
in numpy. `DEFECTS` maps the name of each mistake to the vendor that makes it; ``seeded_defects:VENDOR``
and ``seeded_defects:CRASHES`` can be named on the command line.
"""

# ruff: noqa: A002, A006, E501
from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import time

import numpy as np
import pydantic

from byoc.errors import CompileError
from byoc.kit.capability import ANY, Capability, Operand, PatternsOf, fused_patterns
from byoc.segment import Artifact
from byoc.testing.conformance.meanings import convolve
from byoc.vendor import PythonRuntime, Reject, Vendor

MATMUL = Capability(
    op="matmul",
    inputs=(Operand(), Operand(rank=2, constant=True)),
    tail="bias? residual? nn.relu|clip?",
)
FORM = {"strides": ANY, "padding": ANY, "dilation": ANY, "groups": ANY}
CONV = Capability(
    op="nn.conv2d",
    inputs=(Operand(), Operand(constant=True)),
    attrs=FORM,
    tail="bias? residual? nn.relu|clip?",
)


class Options(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    exact: bool = pydantic.Field(False, description="Sum in double precision.")


def conv(x, w, strides, padding, dilation, groups):
    return convolve(x, w, list(strides), list(padding), list(dilation), groups)


def clip(x, min, max):
    return np.minimum(np.maximum(x, x.dtype.type(min)), x.dtype.type(max))


STEPS = {
    "matmul": np.matmul,
    "nn.conv2d": conv,
    "add": np.add,
    "nn.relu": lambda x: np.maximum(x, 0),
    "clip": clip,
}
KEPT = ("strides", "padding", "dilation", "groups", "min", "max")


def compile_segment(segment, options):
    steps = [
        [n.op, n.inputs, n.outputs[0], {k: n.attrs[k] for k in KEPT if k in n.attrs}]
        for n in segment
    ]
    program = [segment.inputs, segment.outputs, list(segment.constants), steps, options.exact]
    constants = tuple(segment.constants.values())
    return Artifact(segment.name, segment.vendor, json.dumps(program).encode(), constants)


def results(program, table, constants, inputs):
    reads, writes, known, steps, exact = program
    values = dict(zip([*known, *reads], [*constants, *inputs], strict=True))
    for op, operands, result, attrs in steps:
        arrays = [values[v] for v in operands]
        if exact and op == "matmul":
            arrays = [a.astype(np.float64) for a in arrays]
        values[result] = np.asarray(table[op](*arrays, **attrs))
        if exact:
            values[result] = values[result].astype(inputs[0].dtype)
    return [values[v] for v in writes]


def runtime(table=STEPS):
    def init(blob, constants, options):
        program = json.loads(blob)

        def execute(inputs, outputs):
            for array, value in zip(
                outputs, results(program, table, constants, inputs), strict=True
            ):
                np.copyto(array, value)

        return execute

    return PythonRuntime(init)


VENDOR = Vendor(
    "acme", "1", PatternsOf([MATMUL, CONV]), compile_segment, runtime(), options=Options
)
DEFECTS = {}


def spoilt(name, **changes):
    DEFECTS[name] = dataclasses.replace(VENDOR, **changes)


def step(name, op, function):
    """One op computes something else."""
    spoilt(name, runtime=runtime({**STEPS, op: function}))


def call(name):
    """Another execute, given (program, constants, inputs, outputs) and a dict that all calls share."""

    def decorate(function):
        def init(blob, constants, options):
            program, shared = json.loads(blob), {}

            def execute(inputs, outputs):
                return function(program, constants, inputs, outputs, shared)

            return execute

        spoilt(name, runtime=PythonRuntime(init))
        return function

    return decorate


def put(outputs, values):
    for array, value in zip(outputs, values, strict=True):
        np.copyto(array, value)


def right(program, constants, inputs):
    return results(program, STEPS, constants, inputs)


def _masked(x, w, rows=1, columns=1):
    y = np.matmul(x, w)
    if y.ndim > 1:
        y[..., y.shape[-2] // rows * rows :, :] = 0
    y[..., y.shape[-1] // columns * columns :] = 0
    return y


def _square(x, w):
    return w.shape[0] == w.shape[1]


# Wrong numbers: products.
step(
    "transposed weights where they are square",
    "matmul",
    lambda x, w: x @ (w.T if _square(x, w) else w),
)
step(
    "swapped operands where they fit", "matmul", lambda x, w: w @ x if x.shape == w.shape else x @ w
)
step(
    "only the first matrix of a stack",
    "matmul",
    lambda x, w: np.broadcast_to(x[:1] @ w, (*x.shape[:-1], w.shape[1])) if x.ndim > 2 else x @ w,
)
step("sums in half precision", "matmul", lambda x, w: x.astype("f2") @ w.astype("f2"))
step(
    "the last number of the depth is left out",
    "matmul",
    lambda x, w: x[..., :-1] @ w[:-1] if w.shape[0] > 1 else x @ w,
)
step("rows beyond a multiple of 4 are left out", "matmul", lambda x, w: _masked(x, w, rows=4))
step("columns beyond a multiple of 8 are left out", "matmul", lambda x, w: _masked(x, w, columns=8))
step("zeros are skipped, NaN with them", "matmul", lambda x, w: np.where(np.isnan(x), 0, x) @ w)
step(
    "infinities become large numbers",
    "matmul",
    lambda x, w: np.nan_to_num(x, nan=np.nan, posinf=1e30, neginf=-1e30) @ w,
)
step("no rows divide by zero", "matmul", lambda x, w: (x @ w) * (len(x) / len(x)))
step(
    "depth 0 gives one",
    "matmul",
    lambda x, w: x @ w if w.shape[0] else np.ones((*x.shape[:-1], w.shape[1])),
)
step("small numbers are dropped", "matmul", lambda x, w: np.where(abs(x) < 0.1, 0, x) @ w)
# What follows.
step(
    "bias along the rows where it fits",
    "add",
    lambda x, b: x + b[:, None] if b.ndim == 1 and x.ndim > 1 and len(b) == x.shape[-2] else x + b,
)
step("forgotten bias", "add", lambda x, b: x if x.ndim > b.ndim or 1 in b.shape else x + b)
step("forgotten residual", "add", lambda x, b: x if x.shape == b.shape else x + b)
step("bias twice", "add", lambda x, b: x + b + b)
step("bias with the other sign", "add", lambda x, b: x - b)
step(
    "one number of the bias for all",
    "add",
    lambda x, b: x + b.ravel()[:1].reshape([1] * b.ndim) if b.size else x + b,
)
step("bias of matrices only", "add", lambda x, b: x if x.ndim == 3 else x + b)
step("residual multiplied", "add", lambda x, b: x * b if x.shape == b.shape else x + b)
step("forgotten ReLU", "nn.relu", lambda x: x)
step("ReLU is a magnitude", "nn.relu", np.abs)
step("ReLU leaks", "nn.relu", lambda x: np.where(x < 0, x * np.float32(0.01), x))
step("ReLU drops NaN", "nn.relu", lambda x: np.where(x > 0, x, 0))
step("ReLU stops at 6", "nn.relu", lambda x: np.clip(x, 0, 6))
step("clip forgets the lower end", "clip", lambda x, min, max: np.minimum(x, max))
step("clip forgets the upper end", "clip", lambda x, min, max: np.maximum(x, min))
step("clip is ReLU6", "clip", lambda x, min, max: np.clip(x, 0, 6))
step("clip begins at 0", "clip", lambda x, min, max: np.clip(x, 0, max))
# Convolutions.
step(
    "padding of the top on all sides",
    "nn.conv2d",
    lambda x, w, strides, padding, dilation, groups: _cut(
        conv(x, w, strides, [padding[0]] * 4, dilation, groups),
        conv(x, w, strides, padding, dilation, groups),
    ),
)
step(
    "padding of the wrong ends",
    "nn.conv2d",
    lambda x, w, strides, padding, dilation, groups: conv(
        x, w, strides, [*padding[2:], *padding[:2]], dilation, groups
    ),
)
step(
    "strides swapped",
    "nn.conv2d",
    lambda x, w, strides, padding, dilation, groups: _cut(
        conv(x, w, strides[::-1], padding, dilation, groups),
        conv(x, w, strides, padding, dilation, groups),
    ),
)
step(
    "dilation ignored",
    "nn.conv2d",
    lambda x, w, strides, padding, dilation, groups: _cut(
        conv(x, w, strides, padding, [1, 1], groups), conv(x, w, strides, padding, dilation, groups)
    ),
)
step(
    "groups in reverse",
    "nn.conv2d",
    lambda x, w, strides, padding, dilation, groups: conv(
        x, np.concatenate(np.split(w, groups)[::-1]), strides, padding, dilation, groups
    ),
)
step(
    "flipped kernel",
    "nn.conv2d",
    lambda x, w, *form, **more: conv(x, w[:, :, ::-1, ::-1], *form, **more),
)
step(
    "channels of the weights swapped where they are square",
    "nn.conv2d",
    lambda x, w, *form, **more: conv(
        x, w.swapaxes(0, 1) if w.shape[0] == w.shape[1] else w, *form, **more
    ),
)
step(
    "only the first image",
    "nn.conv2d",
    lambda x, w, *form, **more: (
        conv(x, w, *form, **more) * (np.arange(len(x)) < 1).reshape(-1, 1, 1, 1)
    ),
)


def _cut(y, like):
    """As far as it goes, in the shape that is expected: a vendor writes that many numbers."""
    found = np.zeros_like(like)
    ends = [min(a, b) for a, b in zip(y.shape, like.shape, strict=True)]
    found[tuple(slice(e) for e in ends)] = y[tuple(slice(e) for e in ends)]
    return found


# What a call does to memory.
@call("half is written")
def _half(program, constants, inputs, outputs, shared):
    for array, value in zip(outputs, right(program, constants, inputs), strict=True):
        array.reshape(-1)[: array.size // 2] = value.reshape(-1)[: array.size // 2]


@call("only the first output is written")
def _first(program, constants, inputs, outputs, shared):
    put(outputs[:1], right(program, constants, inputs)[:1])


@call("nothing is written after the first call")
def _once(program, constants, inputs, outputs, shared):
    if not shared:
        put(outputs, right(program, constants, inputs))
    shared["done"] = True


@call("results are returned")
def _returned(program, constants, inputs, outputs, shared):
    return right(program, constants, inputs)


@call("outputs are bound anew")
def _bound(program, constants, inputs, outputs, shared):
    outputs = list(outputs)
    outputs[0] = right(program, constants, inputs)[0]


@call("added to what outputs hold")
def _added(program, constants, inputs, outputs, shared):
    for array, value in zip(outputs, right(program, constants, inputs), strict=True):
        array += value


@call("an input is changed")
def _changed(program, constants, inputs, outputs, shared):
    for array in inputs:
        array.setflags(write=True) if array.base is None else None
        ctypes.memset(array.ctypes.data, 0, array.nbytes // 2)
    put(outputs, right(program, constants, inputs))


@call("a number behind the output is written")
def _beyond(program, constants, inputs, outputs, shared):
    put(outputs, right(program, constants, inputs))
    ctypes.memset(outputs[0].ctypes.data + outputs[0].nbytes, 7, 4)


@call("the first input is kept")
def _kept(program, constants, inputs, outputs, shared):
    first = shared.setdefault("inputs", [a.copy() for a in inputs])
    same = [a.shape for a in first] == [a.shape for a in inputs]
    put(outputs, right(program, constants, first if same else inputs))


@call("results are kept by address")
def _by_address(program, constants, inputs, outputs, shared):
    key = tuple(a.ctypes.data for a in inputs) if len(shared) < 64 else len(shared)
    put(outputs, shared.setdefault(key, right(program, constants, inputs)))


@call("memory is taken for aligned")
def _aligned(program, constants, inputs, outputs, shared):
    moved = []
    for a in inputs:
        away = a.ctypes.data % 16 // a.itemsize
        moved.append(np.roll(a.reshape(-1), away).reshape(a.shape) if away else a)
    put(outputs, right(program, constants, moved))


@call("one scratch for all calls")
def _scratch(program, constants, inputs, outputs, shared):
    for number, value in enumerate(right(program, constants, inputs)):
        shared[number] = value
    time.sleep(1e-4)
    put(outputs, [shared[n] for n in range(len(outputs))])


@call("inputs are taken in the order of their sizes")
def _sorted(program, constants, inputs, outputs, shared):
    order = sorted(range(len(inputs)), key=lambda n: inputs[n].sum())
    shapes = {a.shape for a in inputs}
    put(
        outputs,
        right(program, constants, [inputs[n] for n in order] if len(shapes) == 1 else inputs),
    )


@call("outputs in the opposite order")
def _order(program, constants, inputs, outputs, shared):
    reads, writes, known, steps, exact = program
    found = right([reads, writes[::-1], known, steps, exact], constants, inputs)
    for array, value in zip(outputs, found, strict=True):
        np.copyto(array, value if value.shape == array.shape else np.zeros_like(array))


@call("shared state between calls")
def _state(program, constants, inputs, outputs, shared):
    shared["n"] = shared.get("n", 0) + 1
    put(
        outputs,
        [value * (1 if shared["n"] % 3 else 1.01) for value in right(program, constants, inputs)],
    )


@call("constants in the order of their shapes")
def _constants(program, constants, inputs, outputs, shared):
    order = sorted(range(len(constants)), key=lambda n: (constants[n].shape, -n))
    places = sorted(range(len(constants)), key=lambda n: constants[n].shape)
    mixed = list(constants)
    for place, source in zip(places, order, strict=True):
        mixed[place] = constants[source]
    put(outputs, right(program, mixed, inputs))


# What is compiled.
_FIRST = {}


def _keep_first(segment, options):
    made = compile_segment(segment, options)
    first = _FIRST.setdefault(made.blob, made)
    return dataclasses.replace(made, constants=first.constants)


spoilt("weights of the first model of a structure", compile=_keep_first)


def _by_structure(kept):
    good = runtime().init

    def init(blob, constants, options):
        return kept.setdefault(
            (blob, tuple(c.shape for c in constants)), good(blob, constants, options)
        )

    return PythonRuntime(init)


spoilt("runtimes are kept by their blob", runtime=_by_structure({}))


def _one_form(segment, options):
    """All convolutions have the attributes of the first."""
    made = compile_segment(segment, options)
    program = json.loads(made.blob)
    forms = [s[3] for s in program[3] if s[0] == "nn.conv2d"]
    biases = [s[1][1] for s in program[3] if s[0] == "add"]
    for s in program[3]:
        if s[0] == "nn.conv2d":
            s[3] = forms[0]
        elif s[0] == "add" and s[1][1] in program[2]:
            known = [b for b in biases if segment.type(b) == segment.type(s[1][1])]
            s[1][1] = known[0]
    return dataclasses.replace(made, blob=json.dumps(program).encode())


spoilt("the first layer's bias for all", compile=_one_form)


def _two(segment, options):
    if len(segment.composites) > 1:
        raise CompileError("acme: one layer at a time")
    return compile_segment(segment, options)


spoilt("segments of two layers do not compile", compile=_two)


def _no_output(segment, options):
    if len(segment.outputs) > 1:
        raise IndexError("list index out of range")
    return compile_segment(segment, options)


spoilt("one output is expected", compile=_no_output)
spoilt("an option that nobody reads", compile=lambda s, o: compile_segment(s, Options()))


def _fast(segment, options):
    made = compile_segment(segment, options)
    halves = tuple(c.astype("f2").astype(c.dtype) for c in made.constants)
    return dataclasses.replace(made, constants=halves) if options.exact else made


spoilt("an option makes numbers wrong", compile=_fast)


def _object(blob, constants, options):
    if not options.exact:
        return runtime().init(blob, constants, options)
    return None


spoilt("options are taken for an object", runtime=PythonRuntime(_object))


# What is claimed.
def claims(name, *capabilities, **more):
    spoilt(name, patterns=PatternsOf(capabilities), **more)


def widened(capability, **more):
    return capability.model_copy(update=more)


GIVEN = widened(MATMUL, inputs=(Operand(), Operand(rank=2)))
claims(
    "float64 is claimed, float32 computed",
    widened(MATMUL, dtypes=("float32", "float64")),
    runtime=runtime({**STEPS, "matmul": lambda x, w: x.astype("f4") @ w.astype("f4")}),
)
claims(
    "symbolic sizes are claimed, the compiled one used",
    widened(MATMUL, symbolic=True),
    runtime=runtime(
        {**STEPS, "matmul": lambda x, w: np.resize((x @ w)[:2], (*x.shape[:-1], w.shape[1]))}
    ),
)


def _one_weight():
    def init(blob, constants, options):
        program, seen = json.loads(blob), {}

        def first(x, w):
            return x @ seen.setdefault(w.shape, w.copy())

        return _over(program, {**STEPS, "matmul": first}, constants)

    return PythonRuntime(init)


def _over(program, table, constants):
    def execute(inputs, outputs):
        put(outputs, results(program, table, constants, inputs))

    return execute


claims("weights of run time are kept", GIVEN, runtime=_one_weight())
claims(
    "stacked weights are claimed, the first used",
    widened(MATMUL, inputs=(Operand(), Operand(rank=(2, 3), constant=True))),
    runtime=runtime(
        {
            **STEPS,
            "matmul": lambda x, w: np.broadcast_to(
                x @ w.reshape(-1, *w.shape[-2:])[0], np.matmul(x, w).shape
            ),
        }
    ),
)
claims(
    "channels last are claimed",
    widened(CONV, attrs={**FORM, "data_layout": ANY, "kernel_layout": ANY, "out_layout": ANY}),
)
claims(
    "integers are claimed, floats computed",
    widened(MATMUL, dtypes=("int8",)),
    runtime=runtime(
        {
            **STEPS,
            "matmul": lambda x, w: np.clip(x.astype("f4") @ w.astype("f4"), -128, 127).astype(
                x.dtype
            ),
        }
    ),
)


def by_hand(name, tail, check, table=STEPS):
    spoilt(name, patterns=lambda: fused_patterns("matmul", tail, check), runtime=runtime(table))


def _flat_bias(x, b):
    """As if a bias had one number for each column."""
    return x + np.resize(b, x.shape[-1:])


def float32_only(match):
    core = match.node("core")
    if any(match.type(v).dtype != "float32" or not match.type(v).is_static for v in core.inputs):
        return Reject("not float32")
    return None if match.constant(core.inputs[1]) is not None else Reject("no constant")


by_hand("any sum is taken for a bias", "bias? nn.relu?", float32_only, {**STEPS, "add": _flat_bias})
by_hand(
    "every match is taken",
    "bias? nn.relu?",
    lambda match: None,
    {**STEPS, "matmul": lambda x, w: (x.astype("f4") @ w.astype("f4")).astype("f4")},
)
by_hand(
    "a check looks at axes that are not there",
    "bias? nn.relu?",
    lambda match: (
        Reject("no")
        if match.type(match.node("core").inputs[0]).shape[1] == 77
        else float32_only(match)
    ),
)
by_hand(
    "vectors are taken for rows",
    "bias? nn.relu?",
    float32_only,
    {
        **STEPS,
        "matmul": lambda x, w: (
            np.atleast_2d(x)[:, : w.shape[0]] @ w if x.ndim > 1 else x[:1] * w[0]
        ),
    },
)
by_hand(
    "a weight on the left is taken for one on the right",
    "nn.relu?",
    lambda match: (
        Reject("no constant")
        if not any(match.constant(v) is not None for v in match.node("core").inputs)
        else None
    ),
    {**STEPS, "matmul": lambda x, w: w @ x if x.shape == w.shape else x @ w},
)


# What takes the process down; by name only: in this process they would end the tests.
def _crash(blob, constants, options):
    return lambda inputs, outputs: os.abort()


def _hang(blob, constants, options):
    return lambda inputs, outputs: time.sleep(3600)


CRASHES = dataclasses.replace(VENDOR, runtime=PythonRuntime(_crash))
HANGS = dataclasses.replace(VENDOR, runtime=PythonRuntime(_hang))
