"""ONNX files that mean harm, and a process of its own that opens them.

    python hostile_models.py FOLDER [NAME…]    one JSON line per case: name, error, message, seconds

Memory is limited to what is mapped before plus `MEMORY`: a case that needs more ends in MemoryError
or kills the process, which the test sees.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEMORY = 3 << 30
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Case = Callable[[Path], "onnx.ModelProto | bytes"]
CASES: dict[str, tuple[Case, str]] = {}
HUGE = 2**63 - 1


def case(expected: str) -> Callable[[Case], Case]:
    """Note a case. expected: what its error must hold; empty: it may also be read."""

    def note(make: Case) -> Case:
        CASES[make.__name__] = (make, expected)
        return make

    return note


def _model(nodes, inputs=None, outputs=None, stored=(), opset=17):
    inputs = [_port("x", [2, 3])] if inputs is None else inputs
    outputs = [_port("y", None)] if outputs is None else outputs
    graph = helper.make_graph(nodes, "hostile", inputs, outputs, list(stored))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _port(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _one(op, *more, stored=(), shape=(2, 3), **attrs):
    node = helper.make_node(op, ["x", *more], ["y"], name="n", **attrs)
    return _model([node], [_port("x", list(shape))], stored=stored)


def _const(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


def _claims(name, dims, kind=FLOAT, raw=b"\0" * 4):
    """A tensor whose shape says more than its bytes."""
    tensor = TensorProto(name=name, data_type=kind, raw_data=raw)
    tensor.dims.extend(dims)
    return tensor


@case("cycle")
def a_cycle(folder):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Relu", ["b"], ["y"])]  # fmt: skip
    return _model(nodes)


@case("cycle")
def a_long_cycle(folder):
    count = 20000
    nodes = [helper.make_node("Relu", [f"v{(i - 1) % count}"], [f"v{i}"]) for i in range(count)]
    return _model([*nodes, helper.make_node("Add", ["x", "v0"], ["y"])])


@case("cycle")
def a_node_that_reads_itself(folder):
    return _model([helper.make_node("Add", ["x", "y"], ["y"])])


@case("nodes; byoc reads")
def a_million_nodes(folder):
    node = helper.make_node("Relu", ["x"], ["y"]).SerializeToString()
    field = b"\x0a" + bytes([len(node)]) + node
    graph = field * 1_000_000 + _graph_end()
    return b"\x08\x08" + b"\x42\x04\x0a\x00\x10\x11" + b"\x3a" + _varint(len(graph)) + graph


@case("nodes; byoc reads")
def a_million_nodes_in_a_branch(folder):
    small = helper.make_graph([helper.make_node("Relu", ["x"], ["v"])], "b", [], [_port("v", [2])])
    large = onnx.GraphProto()
    large.CopyFrom(small)
    node = helper.make_node("Relu", ["x"], ["v"]).SerializeToString()
    large.MergeFromString((b"\x0a" + bytes([len(node)]) + node) * 201_000)
    made = helper.make_node("If", ["c"], ["y"], then_branch=large, else_branch=small)
    return _model([made], [_port("x", [2, 3]), _port("c", [], TensorProto.BOOL)])


def _graph_end():
    graph = helper.make_graph([], "g", [_port("x", [2])], [_port("y", [2])])
    return graph.SerializeToString()


def _varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@case("no machine holds")
def an_input_of_2_63_elements(folder):
    return _model([helper.make_node("Relu", ["x"], ["y"])], [_port("x", [HUGE])])


@case("no machine holds")
def an_input_whose_product_overflows(folder):
    return _model([helper.make_node("Relu", ["x"], ["y"])], [_port("x", [2**32, 2**32, 2**32])])


@case("'w'")
def a_weight_of_2_63_elements(folder):
    return _one("Add", "w", stored=[_claims("w", [HUGE])])


@case("")
def a_weight_whose_product_wraps_to_its_size(folder):
    return _one("Add", "w", stored=[_claims("w", [2**32, 2**32, 1], raw=b"")])


@case("negative dimension")
def a_weight_with_a_negative_dimension(folder):
    return _one("Add", "w", stored=[_claims("w", [-1, 3])])


@case("")
def an_input_with_a_negative_dimension(folder):
    return _model([helper.make_node("Relu", ["x"], ["y"])], [_port("x", [-5, 3])])


@case("'w'")
def a_weight_longer_than_its_shape(folder):
    return _one("Add", "w", stored=[_claims("w", [1], raw=b"\0" * 4000)])


@case("'w'")
def a_weight_shorter_than_its_shape(folder):
    return _one("Add", "w", stored=[_claims("w", [1000, 1000])])


@case("'w'")
def a_weight_of_an_unknown_type(folder):
    return _one("Add", "w", stored=[_claims("w", [1], kind=99)])


@case("'n'")
def a_constant_that_claims_much(folder):
    node = helper.make_node("Constant", [], ["c"], name="n", value=_claims("v", [2**40]))
    return _model([node, helper.make_node("Add", ["x", "c"], ["y"])])


@case("two")
def two_nodes_of_one_output(folder):
    return _model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])])


@case("twice")
def two_inputs_of_one_name(folder):
    return _model([helper.make_node("Add", ["x", "x"], ["y"])], [_port("x", [2]), _port("x", [3])])


@case("twice")
def two_weights_of_one_name(folder):
    stored = [_const("w", [1.0], np.float32), _const("w", [2.0, 3.0], np.float32)]
    return _one("Add", "w", stored=stored)


@case("is made by")
def a_node_that_makes_an_input(folder):
    return _model([helper.make_node("Relu", ["x"], ["x"]), helper.make_node("Relu", ["x"], ["y"])])


@case("is made by")
def a_node_that_makes_a_weight(folder):
    nodes = [helper.make_node("Relu", ["x"], ["w"]), helper.make_node("Relu", ["w"], ["y"])]
    return _model(nodes, stored=[_const("w", [1.0], np.float32)])


@case("")
def nested_branches(folder):
    """As deep as protobuf reads (100 messages)."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["v0"])], "g", [], [_port("v0", [2])]
    )
    for depth in range(1, 30):
        node = helper.make_node("If", ["c"], [f"v{depth}"], then_branch=graph, else_branch=graph)
        if depth > 8:  # both branches would double the size each time
            del node.attribute[1]
        graph = helper.make_graph([node], "g", [], [_port(f"v{depth}", [2])])
    ports = [_port("x", [2]), _port("c", [], TensorProto.BOOL)]
    return _model(list(graph.node), ports, [_port("v29", [2])])


@case("")
def nested_messages(folder):
    """A hundred thousand levels of attributes within graphs within attributes."""
    data = b""
    for _ in range(2000):
        node = b"\x2a" + _varint(len(data) + 1 + len(_varint(len(data)))) + b"\x32" + _varint(
            len(data)) + data  # fmt: skip
        data = b"\x0a" + _varint(len(node)) + node
    return b"\x08\x08\x3a" + _varint(len(data)) + data


def _external(folder, location, length=None, name="model.onnx", offset=None):
    tensor = TensorProto(name="w", data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend([2, 3])
    given = (("location", location), ("length", length), ("offset", offset))
    for key, value in given:
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return _one("Add", "w", stored=[tensor])


for _number, _location in enumerate(
    ("../../etc/passwd", "/etc/passwd", "a/../../../etc/passwd", "../model.onnx", "", ".", "\0x")
):
    CASES[f"external_{_number}"] = (
        lambda folder, location=_location: _external(folder, location),
        "external",
    )


@case("external")
def external_through_a_link(folder):
    (folder / "link.bin").symlink_to("/etc/passwd")
    return _external(folder, "link.bin")


@case("external")
def external_through_a_linked_folder(folder):
    (folder / "etc").symlink_to("/etc")
    return _external(folder, "etc/passwd")


@case("external")
def external_that_never_ends(folder):
    (folder / "zero.bin").symlink_to("/dev/zero")
    return _external(folder, "zero.bin")


@case("external")
def external_pipe(folder):
    os.mkfifo(folder / "pipe.bin")
    return _external(folder, "pipe.bin")


@case("cut short")
def external_beyond_its_end(folder):
    (folder / "short.bin").write_bytes(b"\0" * 24)
    return _external(folder, "short.bin", length=24, offset=HUGE)


@case("bytes")
def external_of_a_negative_length(folder):
    (folder / "some.bin").write_bytes(b"\0" * 24)
    return _external(folder, "some.bin", length=-24, offset=24)


# -- functions of the model's own, strings, attributes, loops


def _calls(bodies, graph_nodes):
    """A model with functions. bodies: name → operators it calls, in a chain."""
    model = _model(graph_nodes)
    model.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for name, called in bodies.items():
        names = ["a", *(f"v{i}" for i in range(len(called) - 1)), "b"]
        nodes = [
            helper.make_node(op, [names[i]], [names[i + 1]], domain="own" if op in bodies else "")
            for i, op in enumerate(called)
        ]
        model.functions.append(helper.make_function("own", name, ["a"], ["b"], nodes, opsets))
    return model


def _call(name):
    return [helper.make_node(name, ["x"], ["y"], domain="own")]


@case("calls itself")
def a_function_that_calls_itself(folder):
    return _calls({"F": ["Relu", "F"]}, _call("F"))


@case("calls itself")
def functions_that_call_each_other(folder):
    return _calls({"F": ["G"], "G": ["Relu", "H"], "H": ["F"]}, _call("F"))


@case("calls itself")
def a_function_that_calls_itself_in_a_branch(folder):
    model = _calls({"F": ["Relu"]}, _call("F"))
    inner = helper.make_graph(
        [helper.make_node("F", ["a"], ["t"], domain="own")], "g", [], [_port("t", None)]
    )
    node = helper.make_node("If", ["c"], ["b"], then_branch=inner, else_branch=inner)
    make = helper.make_node("Cast", ["a"], ["c"], to=TensorProto.BOOL)
    del model.functions[0].node[:]
    model.functions[0].node.extend([make, node])
    return model


@case("once its functions are inlined")
def functions_of_a_billion_nodes(folder):
    bodies = {f"F{i}": [f"F{i + 1}"] * 2 for i in range(30)} | {"F30": ["Relu"]}
    return _calls(bodies, _call("F0"))


@case("calls itself")
def a_long_chain_of_functions(folder):
    bodies = {f"F{i}": [f"F{(i + 1) % 5000}"] for i in range(5000)}
    return _calls(bodies, _call("F0"))


@case("is there twice")
def two_functions_of_one_name(folder):
    model = _calls({"F": ["Relu"]}, _call("F"))
    model.functions.append(model.functions[0])
    return model


@case("")
def a_chain_of_functions(folder):
    bodies = {f"F{i}": [f"F{i + 1}"] for i in range(300)} | {"F300": ["Relu"]}
    return _calls(bodies, _call("F0"))


@case("nodes")
def a_million_nodes_in_a_function(folder):
    model = _calls({"F": ["Relu"]}, _call("F"))
    node = model.functions[0].node[0].SerializeToString()
    field = b"\x3a" + _varint(len(node)) + node
    model.functions[0].MergeFromString(field * 201_000)
    return model


@case("")
def a_weight_of_strings(folder):
    tensor = TensorProto(name="w", data_type=TensorProto.STRING, string_data=[b"a"] * 6)
    tensor.dims.extend([2, 3])
    return _one("Add", "w", stored=[tensor])


@case("'w'")
def a_weight_of_strings_in_raw_bytes(folder):
    return _one("Add", "w", stored=[_claims("w", [2, 3], kind=TensorProto.STRING)])


@case("n")
def ten_million_numbers_in_an_attribute(folder):
    return _one("Transpose", perm=[1] * 10_000_000)


@case("")
def a_million_attributes_of_one_name(folder):
    node = helper.make_node("LeakyRelu", ["x"], ["y"], name="n", alpha=0.5).SerializeToString()
    attribute = helper.make_attribute("alpha", 0.5).SerializeToString()
    node += (b"\x2a" + _varint(len(attribute)) + attribute) * 1_000_000
    graph = b"\x0a" + _varint(len(node)) + node + _graph_end()
    return b"\x08\x08" + b"\x42\x04\x0a\x00\x10\x11" + b"\x3a" + _varint(len(graph)) + graph


@case("")
def a_text_of_ten_megabytes(folder):
    return _one("Cast", to=FLOAT, saturate="x" * 10_000_000)


@case("twice")
def two_weights_of_one_name_in_a_branch(folder):
    stored = [_const("w", [1.0], np.float32), _const("w", [2.0, 3.0], np.float32)]
    node = helper.make_node("Add", ["x", "w"], ["v"])
    inner = helper.make_graph([node], "g", [], [_port("v", [2])], stored)
    made = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return _model([made], [_port("x", [2]), _port("c", [], TensorProto.BOOL)])


@case("n")
def a_loop_of_2_62_turns(folder):
    """Its condition stays true; no turn of it ends it."""
    return _loops([2**62])


@case("n")
def loops_within_loops(folder):
    return _loops([30] * 12)


def _loops(counts):
    nodes, value = [helper.make_node("Relu", ["v"], ["r"])], "r"
    for depth, count in enumerate(counts):
        ports = [_port(f"i{depth}", [], INT64), _port(f"g{depth}", [], TensorProto.BOOL)]
        ports.append(_port("v", [2]))
        graph = helper.make_graph(
            [helper.make_node("Identity", [f"g{depth}"], [f"h{depth}"]), *nodes],
            "turn", ports, [_port(f"h{depth}", [], TensorProto.BOOL), _port(value, [2])],
        )  # fmt: skip
        above = f"m{depth}"
        nodes = [
            helper.make_node("Constant", [], [above], value_int=count),
            helper.make_node("Loop", [above, "", "v"], [f"o{depth}"], name="n", body=graph),
        ]
        value = f"o{depth}"
    nodes.append(helper.make_node("Relu", [value], ["y"]))
    nodes.insert(0, helper.make_node("Identity", ["x"], ["v"]))
    return _model(nodes, [_port("x", [2])])


@case("n")
def a_transform_of_2_40_elements(folder):
    node = helper.make_node("DFT", ["x", "l"], ["y"], name="n")
    return _model([node], [_port("x", [1, 4, 1])], stored=[_const("l", 2**40)])


# -- operators that would make huge tensors, or divide by zero

_BOMBS = {
    "tile": lambda: _one("Tile", "r", stored=[_const("r", [2**40, 2**20])]),
    "expand": lambda: _one("Expand", "r", stored=[_const("r", [2**40, 2, 3])]),
    "pad": lambda: _one("Pad", "r", stored=[_const("r", [2**60, 0, 0, 0])]),
    "pad_overflow": lambda: _one("Pad", "r", stored=[_const("r", [HUGE, 0, HUGE, 0])]),
    "pad_negative": lambda: _one("Pad", "r", stored=[_const("r", [-HUGE, 0, 0, 0])]),
    "resize": lambda: _one("Resize", "", "", "s", shape=(1, 1, 2, 3),
                           stored=[_const("s", [1, 1, 2**40, 2**40])]),
    "resize_scales": lambda: _one("Resize", "", "s", shape=(1, 1, 2, 3),
                                  stored=[_const("s", [1, 1, 1e30, np.nan], np.float32)]),
    "constant_of_shape": lambda: _model(
        [helper.make_node("ConstantOfShape", ["s"], ["c"], name="n"),
         helper.make_node("Add", ["x", "c"], ["y"])], stored=[_const("s", [2**40, 2**20, 3])]),
    "range": lambda: _model(
        [helper.make_node("Range", ["a", "b", "d"], ["r"], name="n"),
         helper.make_node("Cast", ["r"], ["f"], to=FLOAT),
         helper.make_node("Slice", ["f", "a1", "d1"], ["y"])],
        stored=[_const("a", 0), _const("b", 2**60), _const("d", 1), _const("a1", [0]),
                _const("d1", [1])]),
    "range_of_no_step": lambda: _model(
        [helper.make_node("Range", ["a", "b", "d"], ["r"], name="n"),
         helper.make_node("Cast", ["r"], ["y"], to=FLOAT)],
        stored=[_const("a", 0), _const("b", 5), _const("d", 0)]),
    "one_hot": lambda: _model(
        [helper.make_node("OneHot", ["i", "d", "v"], ["y"], name="n")],
        [_port("i", [2], INT64)], stored=[_const("d", 2**60), _const("v", [0, 1], np.float32)]),
    "reshape": lambda: _one("Reshape", "s", stored=[_const("s", [2**62, 4, -1])]),
    "reshape_of_negatives": lambda: _one("Reshape", "s", stored=[_const("s", [-2, -3])]),
    "gather": lambda: _one("Gather", "i", stored=[_const("i", [HUGE])], axis=0),
    "slice": lambda: _one("Slice", "a", "b", "c", "d", stored=[
        _const("a", [-HUGE]), _const("b", [HUGE]), _const("c", [0]), _const("d", [0])]),
    "split": lambda: _model([helper.make_node("Split", ["x", "s"], ["y", "z"], name="n")],
                            stored=[_const("s", [2**62, -(2**62) + 2])]),
    "top_k": lambda: _model([helper.make_node("TopK", ["x", "k"], ["y", "i"], name="n")],
                            stored=[_const("k", [2**60])]),
    "unsqueeze": lambda: _one("Unsqueeze", "a", stored=[_const("a", [HUGE])]),
    "concat": lambda: _one("Concat", "x", axis=HUGE),
    "transpose": lambda: _one("Transpose", perm=[0, 2**40]),
    "flatten": lambda: _one("Flatten", axis=-HUGE),
    "softmax": lambda: _one("Softmax", axis=2**40),
    "reduce": lambda: _one("ReduceMean", axes=[2**33]),
    "trilu": lambda: _one("Trilu", "k", stored=[_const("k", HUGE)]),
    "cast": lambda: _one("Cast", to=2**31 - 1),
    "depth_to_space": lambda: _one("DepthToSpace", shape=(1, 4, 2, 2), blocksize=0),
    "space_to_depth": lambda: _one("SpaceToDepth", shape=(1, 4, 2, 2), blocksize=2**40),
    "eye_like": lambda: _one("EyeLike", k=HUGE),
    "lrn": lambda: _one("LRN", shape=(1, 4, 2, 2)),
    "clip": lambda: _one("Clip", "a", stored=[_const("a", [1, 2], np.float32)]),
}  # fmt: skip
for _attrs in (
    {"strides": [0, 0]}, {"dilations": [0, 0]}, {"group": 0}, {"group": 2**40},
    {"pads": [2**40] * 4}, {"pads": [-(2**40)] * 4}, {"kernel_shape": [2**40, 2**40]},
    {"strides": [2**62, 2**62]}, {"strides": [-1, -1]},
    {"auto_pad": "SAME_UPPER", "strides": [0, 0]}, {"dilations": [2**62, 1]},
):  # fmt: skip
    _tag = "_".join(f"{k}_{v}" for k, v in _attrs.items())
    _tag = "".join(c if c.isalnum() else "_" for c in _tag)
    _BOMBS[f"conv_{_tag}"] = lambda a=_attrs: _one(
        "Conv",
        "w",
        shape=(1, 2, 5, 5),
        stored=[_const("w", np.ones((2, 2, 3, 3)), np.float32)],
        **a,
    )
    if "group" not in _attrs:
        _BOMBS[f"pool_{_tag}"] = lambda a=_attrs: _one(
            "MaxPool", shape=(1, 2, 5, 5), **{"kernel_shape": [2, 2], **a}
        )
for _name, _make in _BOMBS.items():
    CASES[f"op_{_name}"] = (lambda folder, make=_make: make(), "")


def main() -> None:
    root, names = Path(sys.argv[1]), sys.argv[2:] or list(CASES)
    import byoc
    from byoc.testing.on_purpose import accident

    relu = _model([helper.make_node("Relu", ["x"], ["y"])], outputs=[_port("y", [2, 3])])
    byoc.compile(relu)  # everything is loaded now
    with Path("/proc/self/statm").open() as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    for name in names:
        print(json.dumps({"begins": name}), flush=True)
        folder = root / name
        folder.mkdir()
        made = CASES[name][0](folder)
        path = folder / "model.onnx"
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        del made
        began, error, message = time.process_time(), "", ""
        try:
            byoc.compile(path)
        except BaseException as other:
            error, message = type(other).__name__, str(other)
            why = accident(other)
            if why is not None:
                error, message = f"!{error}", f"{why}: {message}"
        seconds = time.process_time() - began
        print(json.dumps({"name": name, "error": error, "message": message, "seconds": seconds}),
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
