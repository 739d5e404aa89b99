"""A whole vendor in one file: numpy as the accelerator.

It takes dense layers (a matrix product with a bias, maybe a ReLU), compiles a segment to a
few lines of JSON and runs them with numpy. Run it: ``python examples/numpy_vendor.py``.
docs/writing-a-vendor.md explains it part by part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pydantic

from byoc import Artifact, CompileError, Match, Pattern, PythonRuntime, Reject, Segment, Vendor


# [options]
class Options(pydantic.BaseModel):
    """What users may set: ``vendors={"numpy": {"limit": 1000}}``."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    limit: int = pydantic.Field(0, ge=0, description="Largest weight taken, elements; 0: any.")


# [patterns]
def check(match: Match) -> Reject | None:
    """Only float32 with constant weights: metadata is all this may look at."""
    product = match.node("product")
    data, weight = match.type(product.inputs[0]), match.type(product.inputs[1])
    if data.dtype != "float32":
        return Reject(f"data is {data.dtype}, only float32 is supported")
    if match.constant(product.inputs[1]) is None:
        return Reject("the weight is not a constant")
    if len(weight.shape) != 2:
        return Reject(f"the weight has {len(weight.shape)} dimensions, expected 2")
    return None


def patterns() -> Sequence[Pattern]:
    """What is offered, the widest first. TVM is imported only when somebody asks."""
    from tvm.relax.dpl import is_op, wildcard

    def dense() -> tuple[Any, Any]:
        product = is_op("relax.matmul")(wildcard(), wildcard())
        return product, is_op("relax.add")(product, wildcard())

    product, biased = dense()
    relu = Pattern(
        "dense_relu", is_op("relax.nn.relu")(biased), {"product": product}, check, priority=1
    )
    product, biased = dense()
    return [relu, Pattern("dense", biased, {"product": product}, check)]


# [compile]
def compile_segment(segment: Segment, options: Options) -> Artifact:
    """Write the segment down as a list of steps over numbered values."""
    for value, array in segment.constants.items():
        if options.limit and array.size > options.limit:
            raise CompileError(
                f"numpy: {segment.name}: constant {value} has {array.size} elements, "
                f"the option 'limit' allows {options.limit}"
            )
    program = {
        "values": len(segment.values),
        "inputs": segment.inputs,
        "outputs": segment.outputs,
        "constants": list(segment.constants),
        "steps": [[node.op, node.inputs, node.outputs] for node in segment],
    }
    return Artifact(
        segment.name,
        segment.vendor,
        json.dumps(program).encode(),
        tuple(segment.constants.values()),
        notes=(f"{len(segment.nodes)} numpy calls",),
    )


# [runtime]
STEPS: Mapping[str, Callable[..., Any]] = {
    "matmul": np.matmul,
    "add": np.add,
    "nn.relu": lambda x: np.maximum(x, 0),
}


def init(
    blob: bytes, constants: Sequence[np.ndarray[Any, Any]], options: Mapping[str, Any]
) -> Callable[[Sequence[Any], Sequence[Any]], None]:
    """Turn the bytes back into something callable; called once per segment and process."""
    program = json.loads(blob)
    known = dict(zip(program["constants"], constants, strict=True))

    def execute(inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        values = {**known, **dict(zip(program["inputs"], inputs, strict=True))}  # this call's own
        for op, reads, (result,) in program["steps"]:
            values[result] = STEPS[op](*(values[value] for value in reads))
        for array, value in zip(outputs, program["outputs"], strict=True):
            np.copyto(array, values[value])

    return execute


# [vendor]
VENDOR = Vendor(
    name="numpy",
    version=np.__version__,
    patterns=patterns,
    compile=compile_segment,
    runtime=PythonRuntime(init),
    options=Options,
)
# [end]


def main() -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    import byoc

    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(16, 32)) / 4,
        "b1": rng.normal(size=32),
        "w2": rng.normal(size=(32, 4)) / 6,
        "b2": rng.normal(size=4),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"], name="/up/MatMul"),
        helper.make_node("Add", ["h1", "b1"], ["h2"], name="/up/Add"),
        helper.make_node("Relu", ["h2"], ["h3"], name="/act/Relu"),
        helper.make_node("MatMul", ["h3", "w2"], ["h4"], name="/down/MatMul"),
        helper.make_node("Add", ["h4", "b2"], ["h5"], name="/down/Add"),
        helper.make_node("Softmax", ["h5"], ["y"], name="/head/Softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (8, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (8, 4))],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)

    offloaded = byoc.compile(model, vendors=[VENDOR])
    print(offloaded.report)
    x = rng.normal(size=(8, 16)).astype(np.float32)
    here, there = (exe.run({"x": x})["y"] for exe in (byoc.compile(model), offloaded))
    print(f"largest difference to the host: {np.abs(here - there).max():.1e}")


if __name__ == "__main__":
    main()
