"""Keys: the same work has the same key, whatever it is called; other work has another."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from byoc.frontends import import_model
from byoc.measure.cost_model import _Part
from byoc.measure.extract import segment_of_match
from byoc.partition import partition_module
from byoc.plugins.discovery import resolve
from byoc.timing.keys import match_content, segment_content


def model(prefix="", seed=0, channels=8, scale=2.0, padding=1, dtype=np.float32):
    rng = np.random.default_rng(seed)

    def name(text):
        return prefix + text

    weights = {
        "w": rng.standard_normal((channels, 3, 3, 3)).astype(dtype),
        "b": rng.standard_normal(channels).astype(dtype),
        "s": np.array(scale, dtype),
    }
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv", [name("x"), name("w"), name("b")], [name("c")], name("conv"),
                pads=[padding] * 4,
            ),
            helper.make_node("Relu", [name("c")], [name("r")], name("relu")),
            helper.make_node("Mul", [name("r"), name("s")], [name("y")], name("mul")),
        ],
        "g",
        [helper.make_tensor_value_info(name("x"), kind, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name("y"), kind, None)],
        [numpy_helper.from_array(array, name(key)) for key, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def segment(proto):
    vendors = [request.vendor for request in resolve(["onnxruntime"])]
    (found,) = partition_module(import_model(proto).mod, vendors).segments
    return found


def test_names_and_weights_are_not_in_a_key():
    base = segment(model())
    assert segment_content(segment(model(prefix="other_"))) == segment_content(base)
    assert segment_content(segment(model(seed=1))) == segment_content(base)


@pytest.mark.parametrize(
    "change", [{"channels": 16}, {"padding": 0}, {"scale": 3.0}, {"dtype": np.float16}], ids=str
)
def test_what_changes_the_work_is_in_a_key(change):
    mine, other = segment_content(segment(model())), segment_content(segment(model(**change)))
    assert mine[0] != other[0]
    assert mine[1] != other[1]


def test_a_short_constant_that_is_the_same_everywhere_is_told_apart():
    plain = model()
    flat = model()
    (bias,) = [i for i in flat.graph.initializer if i.name == "b"]
    bias.CopyFrom(numpy_helper.from_array(np.zeros(8, np.float32), "b"))
    assert segment_content(segment(plain))[0] != segment_content(segment(flat))[0]


def test_a_composite_has_one_key_as_a_part_and_as_a_segment_of_its_own():
    whole = segment(model())
    for composite in whole.composites:
        part = _Part(whole, composite)
        alone = segment_of_match(part, whole.vendor, "alone", part.parts)
        assert segment_content(alone)[0] == match_content(part)
        assert [node.op for node in alone.nodes] == [whole.nodes[k].op for k in composite.nodes]
        assert set(alone.constants).isdisjoint(alone.inputs)
        made = {v for node in alone.nodes for v in node.outputs}
        assert set(alone.outputs) <= made


def test_every_output_counts():
    """Two segments of the same ops that hand out other values are other work for a vendor."""
    proto = model()
    more = model()
    kind = TensorProto.FLOAT
    more.graph.output.append(helper.make_tensor_value_info("r", kind, None))
    one, two = segment(proto), segment(onnx.ModelProto.FromString(more.SerializeToString()))
    assert segment_content(one)[0] == segment_content(two)[0]
    assert segment_content(one)[1] != segment_content(two)[1]
