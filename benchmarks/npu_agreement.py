"""How often the npu and ONNX Runtime name the same class, on quantised networks of the zoo.

Each network is quantised from seeded noise, compiled for the npu, and run on random images in three
ways: the npu, ONNX Runtime as it is (its ``QLinear`` kernels compute integers), and ONNX Runtime
without graph optimisations (floats between dequantise and quantise). The yardstick is how far the
two of ONNX Runtime agree with each other: a network of random weights has classes that nearly tie.

Usage: ``python benchmarks/npu_agreement.py [--inputs 200] [NAME …]``; exit status 1 below 99 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
from onnx import shape_inference

import byoc
from byoc.quantize import quantize_model
from byoc.segment import Array
from byoc.testing.zoo import model_path
from byoc.vendor_templates.npu import VENDOR

__all__ = [
    "NETWORKS",
    "Agreement",
    "cut_open",
    "images",
    "logits_of",
    "measure_agreement",
    "measure_layers",
    "onnxruntime_run",
    "quantised",
]

NETWORKS = ("resnet50", "mobilenet_v2")
Run = Callable[[Array], Array]


@dataclass(frozen=True)
class Agreement:
    """Of `inputs` images: same class; same logits to the bit; the yardstick's same class."""

    inputs: int
    same_class: int
    same_bits: int
    yardstick: int

    @property
    def share(self) -> float:
        """Part of the images with the same class."""
        return self.same_class / self.inputs


@lru_cache(maxsize=4)
def quantised(
    name: str, samples: int = 8, exclude: tuple[str, ...] = ()
) -> tuple[onnx.ModelProto, str, tuple[int, ...]]:
    """(int8 model, name of its input, shape of its input) of a network of the zoo.

    exclude: nodes that stay in float.
    """
    model = onnx.load(model_path(name))
    constants = {t.name for t in model.graph.initializer}
    (port,) = [i for i in model.graph.input if i.name not in constants]
    shape = tuple(d.dim_value for d in port.type.tensor_type.shape.dim)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((samples * shape[0], *shape[1:])).astype(np.float32)
    return quantize_model(model, {port.name: data}, exclude=exclude).model, str(port.name), shape


def logits_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without a last Softmax: what comes before is integers, seen through a scale."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    last = result.graph.node[-1]
    if last.op_type == "Softmax":
        result.graph.output[0].name = last.input[0]
        result.graph.node.remove(last)
    return result


def cut_open(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto, list[str]]:
    """(model with every quantised tensor as an output, model whose units start from them, names).

    The second has each quantised tensor as an input and each unit's new result as "<name>_new".
    """
    typed = shape_inference.infer_shapes(model)
    kinds = {v.name: v for v in (*typed.graph.value_info, *typed.graph.output)}
    names = [n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    seen = onnx.ModelProto()
    seen.CopyFrom(typed)
    del seen.graph.output[:]
    seen.graph.output.extend(kinds[n] for n in names)
    units = onnx.ModelProto()
    units.CopyFrom(typed)
    del units.graph.output[:], units.graph.value_info[:]
    units.graph.input.extend(kinds[n] for n in names)
    for node in units.graph.node:
        if node.op_type == "QuantizeLinear":
            new = onnx.ValueInfoProto()
            new.CopyFrom(kinds[node.output[0]])
            new.name = node.output[0] = f"{node.output[0]}_new"
            units.graph.output.append(new)
    readable = set(names) | {i.name for i in typed.graph.input}
    readable |= {t.name for t in typed.graph.initializer}
    kept = []
    for node in units.graph.node:  # what leads to no quantize (a float tail) is left out
        if all(name in readable for name in node.input if name):
            readable.update(node.output)
            kept.append(node)
    needed = {o.name for o in units.graph.output}
    nodes = []
    for node in reversed(kept):
        if any(o in needed for o in node.output):
            needed.update(node.input)
            nodes.append(node)
    del units.graph.node[:]
    units.graph.node.extend(reversed(nodes))
    return seen, units, names


def onnxruntime_run(model: onnx.ModelProto, port: str, optimised: bool = True) -> Run:
    """The first output of a model as a function of its only input."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    )
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: np.asarray(session.run(None, {port: x})[0])


def images(shape: tuple[int, ...], count: int, seed: int = 17) -> Iterator[Array]:
    """Seeded noise."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.standard_normal(shape).astype(np.float32)


def measure_agreement(name: str, inputs: int = 200) -> Agreement:
    """Run one network on random images."""
    full, port, shape = quantised(name)
    model = logits_of(full)
    npu = byoc.compile(model, vendors=[VENDOR])
    fused, plain = (onnxruntime_run(model, port, optimised) for optimised in (True, False))
    classes = bits = yardstick = 0
    for x in images(shape, inputs):
        found, expected = np.asarray(npu(x)), fused(x)
        classes += int(found.argmax() == expected.argmax())
        bits += int((found == expected).all())
        yardstick += int(plain(x).argmax() == expected.argmax())
    return Agreement(inputs, classes, bits, yardstick)


def measure_layers(name: str, seed: int = 5) -> tuple[int, int, int]:
    """(integers, how many differ, the largest step), each unit given ONNX Runtime's own inputs."""
    model, port, shape = quantised(name)
    seen, units, names = cut_open(model)
    (x,) = images(shape, 1, seed)
    import onnxruntime as ort

    session = ort.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    values = dict(zip(names, session.run(names, {port: x}), strict=True))
    npu = byoc.compile(units, vendors=[VENDOR])
    inputs = {i.name: values.get(i.name, x) for i in units.graph.input}
    found = npu.run(inputs)
    total = differ = worst = 0
    for tensor in names:
        error = np.abs(found[f"{tensor}_new"].astype(int) - values[tensor].astype(int))
        total += error.size
        differ += int((error > 0).sum())
        worst = max(worst, int(error.max()))
    return total, differ, worst


def main() -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NETWORKS, metavar="NAME")
    parser.add_argument("--inputs", type=int, default=200)
    arguments = parser.parse_args()
    good = True
    for name in arguments.names:
        found = measure_agreement(name, arguments.inputs)
        print(
            f"{name}: npu and ONNX Runtime name the same class for {found.same_class} of "
            f"{found.inputs} inputs, {found.same_bits} with equal logits; ONNX Runtime with and "
            f"without its optimisations: {found.yardstick}",
            flush=True,
        )
        good &= found.share >= 0.99
    sys.exit(not good)


if __name__ == "__main__":
    main()
