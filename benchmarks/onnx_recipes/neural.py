"""Draws of the operators of networks: convolutions, products, pools, norms, recurrences."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.onnx_recipes.drawing import Draw, Rng, array, dims, dtype_for, maybe, part_of, pick

__all__ = [
    "col2im",
    "conv",
    "einsum",
    "gemm",
    "global_pool",
    "layer_norm",
    "lrn",
    "matmul",
    "norm",
    "pool",
    "recurrent",
    "unpool",
    "windows",
]


def windows(rng: Rng, schema: Any, opset: int, rank: int | None = None) -> tuple[Any, ...]:
    """(sizes, attributes of a window)."""
    rank = int(rng.integers(1, 4)) if rank is None else rank
    kernel = dims(rng, rank, 1, 3)
    sizes = [int(rng.integers(k + 2, k + 7)) for k in kernel]
    attrs: dict[str, Any] = {"kernel_shape": kernel}
    attrs["strides"] = maybe(rng, [dims(rng, rank, 1, 3)])
    attrs["dilations"] = maybe(rng, [dims(rng, rank, 1, 2)], 0.5)
    how = rng.random()
    if how < 0.5:
        attrs["pads"] = [int(rng.integers(0, k)) for k in kernel * 2]
    elif how < 0.8:
        attrs["auto_pad"] = pick(rng, ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"))
        if attrs["auto_pad"].startswith("SAME") and rng.random() < 0.7:
            attrs["dilations"] = None
    return sizes, attrs


def pool(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset)
    attrs |= {
        "ceil_mode": maybe(rng, (0, 1)), "count_include_pad": maybe(rng, (0, 1)),
        "p": maybe(rng, (1, 2, 3)), "storage_order": maybe(rng, (0, 1), 0.7),
    }  # fmt: skip
    if opset == 1 and schema.name == "LpPool":
        attrs["p"] = maybe(rng, (2.0, 1.0))
    x = array(rng, [*dims(rng, 2, 1, 3), *sizes], dtype_for(rng, schema))
    outputs = 2 if schema.name == "MaxPool" and opset >= 8 and rng.random() < 0.2 else 1
    return Draw([x], attrs, outputs=outputs)


def global_pool(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(2, 6)))
    p = maybe(rng, (1, 2, 3)) if opset > 1 else maybe(rng, (1.0, 2.0))
    return Draw([array(rng, shape, dtype_for(rng, schema))], {"p": p})


def conv(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset)
    kernel, group = attrs["kernel_shape"], int(rng.integers(1, 4))
    if rng.random() < 0.3:
        attrs["kernel_shape"] = None
    inner, outer = dims(rng, 2, 1, 3)
    attrs["group"] = group if group > 1 or rng.random() < 0.5 else None
    kind = dtype_for(rng, schema)
    x = array(rng, [int(rng.integers(1, 3)), group * inner, *sizes], kind)
    bias = array(rng, [group * outer], kind) if rng.random() < 0.5 else None
    if schema.name == "ConvTranspose":
        w = array(rng, [group * inner, outer, *kernel], kind)
        rank = len(kernel)
        strides = attrs["strides"] or [1] * rank
        if rng.random() < 0.4:
            attrs["output_padding"] = [int(rng.integers(0, s)) for s in strides]
        if rng.random() < 0.25:
            attrs["pads"] = None
            attrs["output_shape"] = [
                int(n * s + rng.integers(-1, 3)) for n, s in zip(sizes, strides, strict=True)
            ]
    else:
        w = array(rng, [group * outer, inner, *kernel], kind)
    return Draw([x, w] if bias is None else [x, w, bias], attrs)


def gemm(rng: Rng, schema: Any, opset: int) -> Draw:
    m, k, n = dims(rng, 3)
    a_t, b_t = maybe(rng, (0, 1)), maybe(rng, (0, 1))
    kind = dtype_for(rng, schema)
    a = array(rng, [k, m] if a_t else [m, k], kind)
    b = array(rng, [n, k] if b_t else [k, n], kind)
    c = array(rng, pick(rng, ([m, n], [1, n], [m, 1], [n], [1], [])), kind)
    attrs = {"transA": a_t, "transB": b_t}
    if np.dtype(kind).kind == "f":
        attrs |= {"alpha": maybe(rng, (0.5, 0.0, -2.0)), "beta": maybe(rng, (0.5, 0.0, -2.0))}
    if opset < 7:
        attrs["broadcast"] = 1
    return Draw([a, b] if opset >= 11 and rng.random() < 0.3 else [a, b, c], attrs)


def matmul(rng: Rng, schema: Any, opset: int) -> Draw:
    m, k, n = dims(rng, 3)
    batch = dims(rng, int(rng.integers(0, 3)))
    kind = dtype_for(rng, schema)
    other = dtype_for(rng, schema, 1) if schema.name == "MatMulInteger" else kind
    a = array(rng, [k] if rng.random() < 0.2 else [*part_of(rng, batch), m, k], kind)
    b = array(rng, [k] if rng.random() < 0.2 else [*batch, k, n], other)
    zeros: list[Any] = []
    if schema.name == "MatMulInteger":
        zeros = [array(rng, [], kind), array(rng, [], other)][: int(rng.integers(0, 3))]
    return Draw([a, b, *zeros])


def norm(rng: Rng, schema: Any, opset: int) -> Draw:
    """BatchNormalization, InstanceNormalization, GroupNormalization."""
    shape = dims(rng, int(rng.integers(3, 6)), 1, 4)
    if schema.name == "GroupNormalization":
        shape[1] = 6
    kind, count = dtype_for(rng, schema), shape[1]
    attrs = {"epsilon": maybe(rng, (1e-5, 0.1)), "momentum": maybe(rng, (0.5,)),
             "num_groups": pick(rng, (1, 2, 3, 6))}  # fmt: skip
    if schema.name == "BatchNormalization":
        if opset < 7:
            attrs |= {"is_test": 1, "consumed_inputs": [0, 0, 0, 1, 1]}
        if opset < 9:
            attrs["spatial"] = maybe(rng, (1,))
    parts = [array(rng, [count], kind) for _ in range(2)]
    if schema.name == "GroupNormalization" and opset < 21:
        parts = [array(rng, [attrs["num_groups"]], kind) for _ in range(2)]
    if schema.name == "BatchNormalization":
        parts += [
            array(rng, [count], kind),
            np.abs(array(rng, [count], kind)) + np.asarray(1, kind),
        ]
    return Draw([array(rng, shape, kind), *parts], attrs)


def layer_norm(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)), 2, 5)
    axis = int(rng.integers(-len(shape), len(shape)))
    given = axis if rng.random() < 0.7 else None
    inner = shape[-1:] if given is None else shape[axis:]
    kind = dtype_for(rng, schema)
    inputs = [array(rng, shape, kind), array(rng, inner, kind)]
    if schema.name == "LayerNormalization" and rng.random() < 0.6:
        inputs.append(array(rng, inner, kind))
    attrs = {"axis": given, "epsilon": maybe(rng, (1e-5, 0.1)), "stash_type": maybe(rng, (1,))}
    return Draw(inputs, attrs, outputs=1)


def lrn(rng: Rng, schema: Any, opset: int) -> Draw:
    attrs = {"size": pick(rng, (1, 2, 3, 4, 5)), "alpha": maybe(rng, (0.01, 1.0)),
             "beta": maybe(rng, (0.5, 1.0)), "bias": maybe(rng, (0.5, 2.0))}  # fmt: skip
    shape = [int(rng.integers(1, 3)), int(rng.integers(1, 7)), *dims(rng, 2)]
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs)


def recurrent(rng: Rng, schema: Any, opset: int) -> Draw:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[schema.name]
    way = maybe(rng, ("forward", "reverse", "bidirectional"))
    d = 2 if way == "bidirectional" else 1
    t, n, size, hidden = dims(rng, 4, 1, 4)
    layout = maybe(rng, (0, 1), 0.6) if opset >= 14 else None
    x = array(rng, [n, t, size] if layout else [t, n, size])
    inputs: list[Any] = [
        x,
        array(rng, [d, gates * hidden, size]),
        array(rng, [d, gates * hidden, hidden]),
    ]
    state = [n, d, hidden] if layout else [d, n, hidden]
    more: list[Any] = [array(rng, [d, 2 * gates * hidden]), None, array(rng, state)]
    if rng.random() < 0.3:
        more[1] = np.asarray(rng.integers(1, t + 1, n), np.int32)
    if schema.name == "LSTM":
        more += [array(rng, state), array(rng, [d, 3 * hidden])]
    inputs += [
        v if rng.random() < 0.6 else None for v in more[: int(rng.integers(0, len(more) + 1))]
    ]
    attrs = {"hidden_size": hidden, "direction": way, "layout": layout,
             "linear_before_reset": maybe(rng, (0, 1)), "clip": maybe(rng, (0.5, 2.0), 0.7),
             "input_forget": maybe(rng, (0, 1), 0.7), "output_sequence": 1}  # fmt: skip
    if rng.random() < 0.3:
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}[schema.name] * d
        names = ("Tanh", "Sigmoid", "Relu", "Softsign", "HardSigmoid", "LeakyRelu", "Elu", "Affine",
                 "ThresholdedRelu", "ScaledTanh", "Softplus")  # fmt: skip
        attrs["activations"] = [pick(rng, names) for _ in range(count)]
        if rng.random() < 0.5:
            attrs |= {"activation_alpha": [0.3] * count, "activation_beta": [0.6] * count}
    if layout:  # ONNX Runtime lacks it; onnx's evaluator knows little else
        attrs |= {"clip": None, "input_forget": None, "activations": None, "direction": None}
        if len(inputs) > 4:
            inputs[4] = None
    return Draw(inputs, attrs, frozenset([1, 2, 3]), outputs=3 if schema.name == "LSTM" else 2)


def einsum(rng: Rng, schema: Any, opset: int) -> Draw:
    a, b, c = dims(rng, 3)
    kind = dtype_for(rng, schema)
    equation, shapes = pick(rng, (
        ("ij,jk->ik", ([a, b], [b, c])), ("ij,jk", ([a, b], [b, c])),
        ("...ij->...ji", ([a, b, c],)),
        ("ij->", ([a, b],)), ("ii->i", ([a, a],)), ("bij,bkj->bik", ([a, b, c], [a, 2, c])),
        ("i,j->ij", ([a], [b])), ("ba", ([a, b],)), ("...i,...i->...", ([a, b], [a, b])),
    ))  # fmt: skip
    return Draw([array(rng, s, kind) for s in shapes], {"equation": equation})


def col2im(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset, 2)
    attrs = {k: attrs.get(k) for k in ("strides", "dilations", "pads")}
    block = dims(rng, 2, 1, 2)
    strides, dilations = attrs["strides"] or [1, 1], attrs["dilations"] or [1, 1]
    pads = attrs["pads"] or [0] * 4
    steps = [
        (n + pads[i] + pads[i + 2] - (k - 1) * dilations[i] - 1) // strides[i] + 1
        for i, (n, k) in enumerate(zip(sizes, block, strict=True))
    ]
    x = array(rng, [2, 2 * int(np.prod(block)), int(np.prod(steps))], dtype_for(rng, schema))
    inputs = [x, np.array(sizes, np.int64), np.array(block, np.int64)]
    return Draw(inputs, attrs, frozenset([1, 2]))


def unpool(rng: Rng, schema: Any, opset: int) -> Draw:
    n, c, h, w = dims(rng, 4, 1, 3)
    ids = np.stack([rng.permutation(4 * h * w)[: h * w].reshape(h, w) for _ in range(n * c)])
    ids = ids.reshape(n, c, h, w)
    ids += (np.arange(n * c) * 4 * h * w).reshape(n, c, 1, 1)
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return Draw([array(rng, [n, c, h, w]), np.asarray(ids, np.int64)], attrs)
