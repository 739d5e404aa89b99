"""What TVM's printer writes that no grammar of names and calls foresees; layouts in blocks."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from byoc.frontends import import_model
from byoc.frontends.relay.source import declared_name, ready

HEAD = '#[version = "0.0.5"]\n'
X = np.random.default_rng(3).normal(0, 1, (2, 3)).astype(np.float32)
Y = np.random.default_rng(4).normal(0, 1, (2, 3)).astype(np.float32)
TENSOR = "Tensor[(2, 3), float32]"
ATTRS = {
    "root": 1,
    "nodes": [
        {"type_key": ""},
        {"type_key": "Map", "keys": ["relay.attrs.ClipAttrs"], "data": [2]},
        {"type_key": "Array", "data": [3]},
        {"type_key": "relay.attrs.ClipAttrs", "attrs": {"a_min": "-0.5", "a_max": "0.5"}},
    ],
    "b64ndarrays": [],
    "attrs": {"tvm_version": "0.12.0"},
}


def answer(tools, text, *arrays):
    found = tools.run(import_model(text).mod, *arrays)
    return found[0] if len(found) == 1 else found


# -- names


@pytest.mark.parametrize(
    "name", ["input.1", "layer1.0.fc.weight", "v/0/w", "x:0", "x-in", "a.1.0", "p@q", "a::b.2/c"]
)
def test_declared_names_are_read_as_they_are_printed(tools, name):
    text = HEAD + f"def @main(%{name}: {TENSOR}, %y: {TENSOR}) {{ subtract(%{name}, %y) }}"
    model = import_model(text)
    assert model.inputs[0] == name
    np.testing.assert_array_equal(tools.run(model.mod, X, Y)[0], X - Y)


@pytest.mark.parametrize(
    "body, expected",
    [
        ("let %t = (%x, %y);\nsubtract(%t.0, %t.1)", X - Y),  # fields
        ("let %t = (%x, %y);\nlet %u.0 = %t.1;\nsubtract(%u.0, %t.0)", Y - X),
        ("let %a.0 = (%x, %y);\nsubtract(%a.0.0, %a.0.1)", X - Y),  # a field of a dotted name
        ("%x-%y", X - Y),  # a difference
        ("%x/2f", X / 2),
        ("let %x-y = exp(%x);\nadd(%x-y, %x-%y)", np.exp(X) + (X - Y)),
    ],
)
def test_what_is_not_declared_keeps_its_meaning(tools, body, expected):
    text = HEAD + f"def @main(%x: {TENSOR}, %y: {TENSOR}) {{ {body} }}"
    np.testing.assert_allclose(answer(tools, text, X, Y), expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_random_names_come_back(seed):
    """Any name that is declared is one variable, wherever it stands beside others."""
    rng = np.random.default_rng(seed)
    letters = list("ab01_./:-")
    names = {f"n{''.join(rng.choice(letters, rng.integers(1, 7)))}z" for _ in range(4)}
    params = ", ".join(f"%{name}: float32" for name in sorted(names))
    body = "add(" * (len(names) - 1)
    first, *rest = sorted(names)
    body += f"%{first}" + "".join(f", %{name})" for name in rest)
    model = import_model(HEAD + f"def @main({params}) {{ {body} }}")
    assert model.inputs == tuple(sorted(names))


def test_positions_hold():
    text = f"fn (%a.1: {TENSOR}) {{ /* x /* y */\n z */ %a.1 }}"
    found = ready(text)
    assert len(found) == len(text)
    assert [len(line) for line in found.split("\n")] == [len(line) for line in text.split("\n")]
    assert declared_name(found).count("%a.1") == 2
    assert "z */" not in found


# -- heads, types, places


@pytest.mark.parametrize(
    "head",
    [
        "type List[A] {\n  Cons(A, List[A]),\n  Nil,\n}\n",
        "type t {\n  t0(float32),\n  t1(Tensor[(?), float32]),\n}\nextern type Storage\n",
        "type L[A] { Nil }\n"
        "def @hd[A](%l: L[A]) -> A { match? (%l) { Cons(%h, (%a, _)) => { %h }, Nil => 1f } }\n",
    ],
)
def test_types_that_nothing_uses_are_left(tools, head):
    text = HEAD + head + f"def @main(%x: {TENSOR}) {{ nn.relu(%x) }}"
    np.testing.assert_array_equal(answer(tools, text, X), np.maximum(X, 0))


TARGET = "Target(id=55f0c8b7d2b0, kind='llvm', keys={'cpu'}, attrs={'mcpu': \"x\", \"l\"=['a']})"
PLANNED = f"""def @main(
    %x {{virtual_device=VirtualDevice(device_type=1, target={TARGET})}}: {TENSOR},
    hash="12ab", virtual_device=VirtualDevice(device_type=1, virtual_device_id=0)) {{
  %0 = device_copy(%x, src_virtual_device=meta[VirtualDevice][0],
                   dst_virtual_device=meta[VirtualDevice][1]);
  %1 = annotation.compiler_begin(%0, compiler="dnnl");
  %2 = nn.relu(%1);
  %3 = annotation.compiler_end(%2, compiler="dnnl");
  on_device(%3, virtual_device=VirtualDevice(device_type=1), constrain_result=True)
}}"""


def test_text_after_device_planning(tools):
    np.testing.assert_array_equal(answer(tools, HEAD + PLANNED, X), np.maximum(X, 0))


@pytest.mark.parametrize(
    "text, arrays, expected",
    [
        ("v0.0.4\nfn (%x: T) { exp(%x) }", (X,), np.exp(X)),
        (HEAD + "def @net(%x: T) { exp(%x) }", (X,), np.exp(X)),  # one function is @main
        (HEAD + "let %a = 2f;\nadd(%a, 1f)", (), np.float32(3)),
        (HEAD + "free_var %x: T;\n%0 = exp(%x);\nadd(%0, %x)", (X,), np.exp(X) + X),
        (HEAD + "def @main(%x: T) -> Tensor[(meta[tir.Div][0], 3), float32] { exp(%x) }",
         (X,), np.exp(X)),
        (HEAD + "def @main(%x: Tensor[(Any(), 3), float32]) { exp(%x) }", (X,), np.exp(X)),
        (HEAD + "def @main(%x: T) { let %f: fn [A](A) -> A = fn [A](%y: A) -> A { %y };\n"
         "exp(%f(%x, name=\"call\", attrs_type_key=\"attrs.Test\")) }", (X,), np.exp(X)),
        (HEAD + "def @main(%x: T) { %0 = split(%x, indices_or_sections=1, axis=1);\n%0.0 }",
         (X,), X),
        (HEAD + "def @main(%x: T) { clip(%x, meta[relay.attrs.ClipAttrs][0]) }\n#[metadata]\n"
         + json.dumps(ATTRS), (X,), np.clip(X, -0.5, 0.5)),
    ],
)  # fmt: skip
def test_heads_types_and_attributes(tools, text, arrays, expected):
    found = answer(tools, re.sub(r": T\b", f": {TENSOR}", text), *arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_branches_share_graph_bindings(tools):
    text = HEAD + (
        f"def @main(%x: {TENSOR}) {{\n  %0 = greater(sum(%x), 100f);\n"
        "  if (%0) { %1 = add(%x, 1f); multiply(%1, 2f) } else { multiply(%1, 10f) }\n}"
    )
    for x, factor in ((X, 10), (X + 100, 2)):
        np.testing.assert_allclose(answer(tools, text, x), (x + 1) * factor, rtol=1e-6)


# -- layouts


LAYOUTS = ("NCHW", "NHWC", "NCHW4c", "NHWC2c", "CHWN8c", "NCHW2c4c", "NC4cHW")


@pytest.mark.parametrize("src", LAYOUTS)
@pytest.mark.parametrize("dst", LAYOUTS)
def test_layout_transform(tools, src, dst):
    """Through any layout and back, each element is where the layout says."""
    text = HEAD + (
        "def @main(%x: Tensor[(2, 8, 3, 5), float32]) {\n"
        f'  %0 = layout_transform(%x, src_layout="NCHW", dst_layout="{src}");\n'
        f'  %1 = layout_transform(%0, src_layout="{src}", dst_layout="{dst}");\n  (%0, %1)\n}}'
    )
    x = np.arange(240, dtype=np.float32).reshape(2, 8, 3, 5)
    for found, layout in zip(answer(tools, text, x), (src, dst), strict=True):
        np.testing.assert_array_equal(found, laid_out(x, layout))


def laid_out(x, layout):
    """NCHW in another layout, element by element."""
    where = {letter: x.shape["NCHW".index(letter)] for letter in "NCHW"}
    blocks = [(n, int(b)) for b, n in re.findall(r"(\d+)([a-z])", layout)]
    parts, shape = [], []
    for number, letter in re.findall(r"(\d*)([A-Za-z])", layout):
        parts.append((letter.upper(), bool(number)))
        total = int(np.prod([b for n, b in blocks if n == letter.lower()] or [1]))
        shape.append(int(number) if number else where[letter] // total)
    out = np.empty(shape, x.dtype)
    for index in np.ndindex(*shape):
        at = dict.fromkeys("NCHW", 0)
        for letter in "NCHW":  # outer first
            members = [i for i, (n, inner) in enumerate(parts) if n == letter and not inner]
            members += [i for i, (n, inner) in enumerate(parts) if n == letter and inner]
            for i in members:
                at[letter] = at[letter] * (1 if i == members[0] else shape[i]) + index[i]
        out[index] = x[at["N"], at["C"], at["H"], at["W"]]
    return out


X8 = "%x: Tensor[(1, 8, 6, 6), float32]"
TAIL = """
  %3 = nn.max_pool2d(%2, pool_size=[2, 2], strides=[2, 2], padding=[0, 0, 0, 0], layout="NCHW8c");
  %4 = nn.global_avg_pool2d(%3, layout="NCHW8c");
  (layout_transform(%2, src_layout="NCHW8c", dst_layout="NCHW"),
   layout_transform(%4, src_layout="NCHW8c", dst_layout="NCHW"))
}"""
BLOCKED = f"""def @main({X8}, %w: Tensor[(16, 8, 3, 3), float32]) {{
  %0 = layout_transform(%x, src_layout="NCHW", dst_layout="NCHW8c");
  %1 = layout_transform(%w, src_layout="OIHW", dst_layout="OIHW8i8o");
  %2 = nn.contrib_conv2d_NCHWc(%0, %1, padding=[1, 1, 1, 1], channels=16, kernel_size=[3, 3],
          data_layout="NCHW8c", kernel_layout="OIHW8i8o", out_layout="NCHW8c");{TAIL}"""
DEPTHWISE = f"""def @main({X8}, %w: Tensor[(8, 1, 3, 3), float32]) {{
  %0 = layout_transform(%x, src_layout="NCHW", dst_layout="NCHW8c");
  %1 = layout_transform(%w, src_layout="OIHW", dst_layout="OIHW1i8o");
  %2 = nn.contrib_depthwise_conv2d_NCHWc(%0, %1, padding=[1, 1, 1, 1], groups=8, channels=8,
          kernel_size=[3, 3], data_layout="NCHW8c", kernel_layout="OIHW1i8o");{TAIL}"""


@pytest.mark.parametrize(
    "text, groups, weight",
    [
        (BLOCKED, 1, (16, 8, 3, 3)),
        (BLOCKED.replace("contrib_conv2d_NCHWc", "conv2d"), 1, (16, 8, 3, 3)),
        (DEPTHWISE, 8, (8, 1, 3, 3)),
    ],
)
def test_blocked_convolution_and_pools(tools, text, groups, weight):
    rng = np.random.default_rng(0)
    x, w = (rng.normal(0, 1, s).astype(np.float32) for s in ((1, 8, 6, 6), weight))
    plain = f"""def @main({X8}, %w: Tensor[{weight}, float32]) {{
      %0 = nn.conv2d(%x, %w, padding=[1, 1, 1, 1], channels={weight[0]}, kernel_size=[3, 3],
                     groups={groups});
      %1 = nn.max_pool2d(%0, pool_size=[2, 2], strides=[2, 2], padding=[0, 0, 0, 0]);
      (%0, nn.global_avg_pool2d(%1))
    }}"""
    wanted = answer(tools, HEAD + plain, x, w)
    for found, one in zip(answer(tools, HEAD + text, x, w), wanted, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-5)


def test_dense_with_a_packed_weight(tools):
    text = HEAD + (
        "def @main(%x: Tensor[(4, 16), float32], %w: Tensor[(3, 16, 8), float32]) {\n"
        '  nn.contrib_dense_pack(%x, %w, weight_layout="NC8n", units=24)\n}'
    )
    rng = np.random.default_rng(0)
    x, w = (rng.normal(0, 1, s).astype(np.float32) for s in ((4, 16), (3, 16, 8)))
    plain = w.transpose(0, 2, 1).reshape(24, 16)
    np.testing.assert_allclose(answer(tools, text, x, w), x @ plain.T, rtol=1e-5, atol=1e-5)
