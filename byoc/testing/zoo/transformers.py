"""BERT, GPT-2 and ViT, node for node as torch.onnx (opset 17) writes the usual implementations.

What differs between exporters' outputs is kept different here: BERT has biased MatMuls and a
mask that is added; GPT-2 has Gemms between Reshapes, one Split and a mask that selects; ViT has
the scale split over query and key (`scaled_dot_product_attention`) and joins a class token.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import onnx
from onnx import TensorProto

from byoc.dims import Dim
from byoc.testing.zoo.builder import Builder
from byoc.testing.zoo.layers import gelu_erf, gelu_tanh, heads_shape, layer_norm, linear

__all__ = ["build_bert", "build_gpt2", "build_vit"]

_LOWEST = float(np.finfo(np.float32).min)


def _split_heads(b: Builder, x: str, shape: list[str | int], perm: list[int]) -> str:
    return b.op("Transpose", b.op("Reshape", x, heads_shape(b, shape)), perm=perm)


def build_bert(
    *,
    seed: int = 0,
    batch: Dim = 1,
    sequence: Dim = 128,
    layers: int = 12,
    hidden: int = 768,
    heads: int = 12,
    vocabulary: int = 30522,
    spell_norms: bool = False,
) -> onnx.ModelProto:
    """Build BERT-base (Devlin et al. 2018).

    Inputs ``input_ids``, ``attention_mask``, ``token_type_ids``: int64 [batch, sequence].
    Outputs ``last_hidden_state`` [batch, sequence, hidden], ``pooler_output`` [batch, hidden].

    Args:
        seed: Of the weights.
        batch: Size, or name of a symbolic dimension.
        sequence: Size, or name of a symbolic dimension.
        layers: Of the encoder.
        hidden: Features.
        heads: Of each attention.
        vocabulary: Rows of the embedding.
        spell_norms: LayerNorm as ReduceMean, Sub, Pow, … (opset below 17) instead of one op.

    """
    b = Builder("bert", seed)
    ids, mask, types = (
        b.input(name, (batch, sequence), TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    where = b.batch_and_sequence(ids, batch, sequence)

    penalty = b.op("Unsqueeze", mask, b.constant([1]))
    penalty = b.op("Unsqueeze", penalty, b.constant([2]))
    penalty = b.op("Cast", penalty, to=TensorProto.FLOAT)
    penalty = b.op("Mul", b.op("Sub", b.constant(1.0), penalty), b.constant(_LOWEST))

    with b.scope("embeddings"):
        x = _embed(b, "word_embeddings", ids, vocabulary, hidden)
        x = b.op("Add", x, _embed(b, "token_type_embeddings", types, 2, hidden))
        x = b.op("Add", x, _positions(b, where[1], max(512, _int(sequence)), hidden))
        with b.scope("LayerNorm"):
            x = layer_norm(b, x, hidden, 1e-12, spell_norms)

    size = hidden // heads
    for layer in range(layers):
        with b.scope(f"encoder/layer.{layer}"):
            with b.scope("attention"):
                with b.scope("self"):
                    with b.scope("query"):
                        q = linear(b, x, hidden, hidden, gain=1.5)
                    with b.scope("key"):
                        k = linear(b, x, hidden, hidden)
                    k = _split_heads(b, k, [*where, heads, size], [0, 2, 3, 1])
                    with b.scope("value"):
                        v = linear(b, x, hidden, hidden)
                    v = _split_heads(b, v, [*where, heads, size], [0, 2, 1, 3])
                    q = _split_heads(b, q, [*where, heads, size], [0, 2, 1, 3])
                    scores = b.op("Div", b.op("MatMul", q, k), b.constant(sqrt(size)))
                    weights = b.op("Softmax", b.op("Add", scores, penalty), axis=-1)
                    y = b.op("Transpose", b.op("MatMul", weights, v), perm=[0, 2, 1, 3])
                    y = b.op("Reshape", y, heads_shape(b, [*where, hidden]))
                with b.scope("output"):
                    with b.scope("dense"):
                        y = linear(b, y, hidden, hidden)
                    x = b.op("Add", y, x)
                    with b.scope("LayerNorm"):
                        x = layer_norm(b, x, hidden, 1e-12, spell_norms)
            with b.scope("intermediate"):
                with b.scope("dense"):
                    y = linear(b, x, hidden, 4 * hidden)
                with b.scope("intermediate_act_fn"):
                    y = gelu_erf(b, y)
            with b.scope("output"):
                with b.scope("dense"):
                    y = linear(b, y, 4 * hidden, hidden)
                x = b.op("Add", y, x)
                with b.scope("LayerNorm"):
                    x = layer_norm(b, x, hidden, 1e-12, spell_norms)
    with b.scope("pooler"):
        first = b.op("Gather", x, b.constant(np.array(0, np.int64)), axis=1)
        with b.scope("dense"):
            weight = b.parameter("weight", b.normal((hidden, hidden), sqrt(1 / hidden)))
            bias = b.parameter("bias", b.normal((hidden,), 0.1))
            pooled = b.op("Gemm", first, weight, bias, transB=1)
        with b.scope("activation"):
            pooled = b.op("Tanh", pooled)
    b.output(x, "last_hidden_state", (batch, sequence, hidden))
    b.output(pooled, "pooler_output", (batch, hidden))
    return b.model()


def _int(dim: Dim) -> int:
    return dim if isinstance(dim, int) else 0


def _embed(b: Builder, module: str, ids: str, rows: int, hidden: int, std: float = 0.5) -> str:
    with b.scope(module):
        return b.op("Gather", b.parameter("weight", b.normal((rows, hidden), std)), ids)


def _positions(
    b: Builder, sequence: str | int, rows: int, hidden: int, module: str = "position_embeddings"
) -> str:
    """Embedding of positions 0 … sequence - 1: a slice of a stored range when it is symbolic."""
    ids = np.arange(rows if isinstance(sequence, str) else sequence, dtype=np.int64)[None]
    if isinstance(sequence, int):
        positions = b.constant(ids)
    else:
        positions = b.op(
            "Slice", b.constant(ids), b.constant([0]), b.vector(sequence), b.constant([1])
        )
    return _embed(b, module, positions, rows, hidden, 0.3)


def build_gpt2(
    *,
    seed: int = 0,
    batch: Dim = 1,
    sequence: Dim = 128,
    layers: int = 12,
    hidden: int = 768,
    heads: int = 12,
    vocabulary: int = 50257,
    context: int = 1024,
    spell_norms: bool = False,
) -> onnx.ModelProto:
    """Build GPT-2 small (Radford et al. 2019), without a key-value cache.

    Input ``input_ids``: int64 [batch, sequence]. Output ``logits`` [batch, sequence, vocabulary].

    Args:
        seed: Equal seeds draw equal weights.
        batch: Size, or name of a symbolic dimension.
        sequence: Size, or name of a symbolic dimension.
        layers: The number of decoder layers.
        hidden: The number of features.
        heads: The number of heads of each attention.
        vocabulary: Rows of the embedding.
        context: The largest number of positions.
        spell_norms: LayerNorm as ReduceMean, Sub, Pow, … (opset below 17) instead of one op.
    """
    b = Builder("gpt2", seed)
    ids = b.input("input_ids", (batch, sequence), TensorProto.INT64)
    where = b.batch_and_sequence(ids, batch, sequence)
    rows = max(context, _int(sequence))
    with b.scope("transformer"):
        table = b.normal((vocabulary, hidden), 2.5 / sqrt(hidden))
        with b.scope("wte"):
            x = b.op("Gather", b.parameter("weight", table), ids)
        x = b.op("Add", x, _positions(b, where[1], rows, hidden, "wpe"))
        for layer in range(layers):
            with b.scope(f"h.{layer}"):
                with b.scope("ln_1"):
                    y = layer_norm(b, x, hidden, 1e-5, spell_norms)
                with b.scope("attn"):
                    y = _causal_attention(b, y, where, rows, hidden, heads, layers)
                x = b.op("Add", y, x)
                with b.scope("ln_2"):
                    y = layer_norm(b, x, hidden, 1e-5, spell_norms)
                with b.scope("mlp"):
                    with b.scope("c_fc"):
                        y = _conv1d(b, y, where, hidden, 4 * hidden)
                    with b.scope("act"):
                        y = gelu_tanh(b, y)
                    with b.scope("c_proj"):
                        y = _conv1d(b, y, where, 4 * hidden, hidden, 1 / sqrt(layers))
                x = b.op("Add", x, y)
        with b.scope("ln_f"):
            x = layer_norm(b, x, hidden, 1e-5, spell_norms)
    with b.scope("lm_head"):
        # tied to wte; the exporter folds the transpose into a second copy
        x = b.op("MatMul", x, b.folded("MatMul", table.T))
    b.output(x, "logits", (batch, sequence, vocabulary))
    return b.model()


def _conv1d(
    b: Builder, x: str, where: tuple[str | int, str | int], n_in: int, n_out: int, gain: float = 1.0
) -> str:
    """GPT-2's `Conv1D`: a Gemm on flattened rows, weight [n_in, n_out]."""
    weight = b.parameter("weight", b.normal((n_in, n_out), gain * sqrt(1 / n_in)))
    bias = b.parameter("bias", b.normal((n_out,), 0.1))
    x = b.op("Reshape", x, b.constant([-1, n_in]))
    x = b.op("Gemm", x, weight, bias, alpha=1.0, beta=1.0)
    return b.op("Reshape", x, heads_shape(b, [*where, n_out]))


def _causal_attention(
    b: Builder,
    x: str,
    where: tuple[str | int, str | int],
    rows: int,
    hidden: int,
    heads: int,
    layers: int,
) -> str:
    size = hidden // heads
    with b.scope("c_attn"):
        x = _conv1d(b, x, where, hidden, 3 * hidden, 1.2)
    sizes = b.constant([hidden, hidden, hidden])
    q, k, v = b.ops("Split", x, sizes, outputs=3, axis=2)
    q = _split_heads(b, q, [*where, heads, size], [0, 2, 1, 3])
    k = _split_heads(b, k, [*where, heads, size], [0, 2, 3, 1])
    v = _split_heads(b, v, [*where, heads, size], [0, 2, 1, 3])
    scores = b.op("Div", b.op("MatMul", q, k), b.constant(sqrt(size)))
    sequence = where[1]
    side = sequence if isinstance(sequence, int) else rows
    mask = b.constant(np.tril(np.ones((1, 1, side, side), bool)))
    if isinstance(sequence, str):
        for axis in (2, 3):
            mask = b.op("Slice", mask, b.constant([0]), b.vector(sequence), b.constant([axis]))
    scores = b.op("Where", mask, scores, b.constant(_LOWEST))
    y = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
    y = b.op("Transpose", y, perm=[0, 2, 1, 3])
    y = b.op("Reshape", y, heads_shape(b, [*where, hidden]))
    with b.scope("c_proj"):
        return _conv1d(b, y, where, hidden, hidden, 1 / sqrt(layers))


def build_vit(
    *,
    seed: int = 0,
    batch: Dim = 1,
    image: int = 224,
    patch: int = 16,
    layers: int = 12,
    hidden: int = 768,
    heads: int = 12,
    classes: int = 1000,
    spell_norms: bool = False,
) -> onnx.ModelProto:
    """Build ViT-B/16 (Dosovitskiy et al. 2020).

    Input ``pixel_values`` [batch, 3, image, image]. Output ``logits`` [batch, classes].

    Args:
        seed: Equal seeds draw equal weights.
        batch: Size, or name of a symbolic dimension.
        image: Height and width of the input, in pixels.
        patch: Height and width of a patch, in pixels.
        layers: The number of encoder layers.
        hidden: The number of features.
        heads: The number of heads of each attention.
        classes: The number of classes.
        spell_norms: LayerNorm as ReduceMean, Sub, Pow, … (opset below 17) instead of one op.
    """
    b = Builder("vit", seed)
    pixels = b.input("pixel_values", (batch, 3, image, image))
    patches = (image // patch) ** 2
    rows, _ = b.batch_and_sequence(pixels, batch, 0)
    with b.scope("vit/embeddings"):
        with b.scope("patch_embeddings/projection"):
            std = sqrt(1 / (3 * patch * patch))
            x = b.op(
                "Conv",
                pixels,
                b.parameter("weight", b.normal((hidden, 3, patch, patch), std)),
                b.parameter("bias", b.normal((hidden,), 0.1)),
                dilations=[1, 1],
                group=1,
                kernel_shape=[patch, patch],
                pads=[0, 0, 0, 0],
                strides=[patch, patch],
            )
        x = b.op("Reshape", x, heads_shape(b, [rows, hidden, patches]))
        x = b.op("Transpose", x, perm=[0, 2, 1])
        token = b.parameter("cls_token", b.normal((1, 1, hidden), 0.5))
        if rows != 1:
            token = b.op("Expand", token, heads_shape(b, [rows, 1, hidden]))
        x = b.op("Concat", token, x, axis=1)
        positions = b.normal((1, patches + 1, hidden), 0.3)
        x = b.op("Add", x, b.parameter("position_embeddings", positions))

    where = (rows, patches + 1)
    size = hidden // heads
    root = b.constant(size**-0.25)
    for layer in range(layers):
        with b.scope(f"vit/encoder/layer.{layer}"):
            with b.scope("layernorm_before"):
                y = layer_norm(b, x, hidden, 1e-12, spell_norms)
            with b.scope("attention"):
                with b.scope("attention"):
                    parts = []
                    for module, gain in (("query", 1.5), ("key", 1.0), ("value", 1.0)):
                        with b.scope(module):
                            part = linear(b, y, hidden, hidden, gain=gain)
                        parts.append(_split_heads(b, part, [*where, heads, size], [0, 2, 1, 3]))
                    q, k, v = parts
                    k = b.op("Transpose", k, perm=[0, 1, 3, 2])
                    scores = b.op("MatMul", b.op("Mul", q, root), b.op("Mul", k, root))
                    y = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
                    y = b.op("Transpose", y, perm=[0, 2, 1, 3])
                    y = b.op("Reshape", y, heads_shape(b, [*where, hidden]))
                with b.scope("output/dense"):
                    y = linear(b, y, hidden, hidden, gain=1 / sqrt(layers))
            x = b.op("Add", y, x)
            with b.scope("layernorm_after"):
                y = layer_norm(b, x, hidden, 1e-12, spell_norms)
            with b.scope("intermediate"):
                with b.scope("dense"):
                    y = linear(b, y, hidden, 4 * hidden)
                with b.scope("intermediate_act_fn"):
                    y = gelu_erf(b, y)
            with b.scope("output"):
                with b.scope("dense"):
                    y = linear(b, y, 4 * hidden, hidden, gain=1 / sqrt(layers))
                x = b.op("Add", y, x)
    with b.scope("vit/layernorm"):
        x = layer_norm(b, x, hidden, 1e-12, spell_norms)
    x = b.op("Gather", x, b.constant(np.array(0, np.int64)), axis=1)
    with b.scope("classifier"):
        weight = b.parameter("weight", b.normal((classes, hidden), 2 / sqrt(hidden)))
        bias = b.parameter("bias", b.normal((classes,), 0.1))
        x = b.op("Gemm", x, weight, bias, transB=1)
    b.output(x, "logits", (batch, classes))
    return b.model()
