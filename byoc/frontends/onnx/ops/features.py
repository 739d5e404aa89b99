"""Features of classic models: counts of n-grams, chosen columns, thresholds.

An n-gram of the pool is found where a window of the input is equal to it in every element; windows
of each length and number of skipped elements are one `take` of known places::

    x [C] ─ take ─▶ windows [W, n] ─ equal ─▶ [W, P, n] ─ all, sum ─▶ counts [P]
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import text_of

__all__ = ["FEATURES"]

op = relax.op


def tf_idf(c: OnnxContext) -> Any:
    """TfIdfVectorizer 9 of whole numbers, of one row or several."""
    if "pool_int64s" not in c.attrs:
        raise ValueError("its pool is of strings")
    mode = text_of(c.attrs.get("mode"), "")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise RefusedError(f"its mode is {mode!r}; legal are TF, IDF, TFIDF")
    data, rank = c[0], c[0].ty.ndim
    length = data.ty.shape.values[-1]
    if not is_int(length) or rank > 2:
        raise ValueError("of rows whose length is known only at run time, or of more dimensions")
    indexes = [int(i) for i in c.attrs["ngram_indexes"]]
    grams = _grams(c, len(indexes))
    columns: dict[int, Any] = {}
    for size, first, pool in grams:
        counts = _counts(c, data, int(length), size, pool)
        if counts is not None:
            places = indexes[first : first + len(pool)]
            columns.update((place, (counts, i)) for i, place in enumerate(places))
    if len(set(indexes)) != len(indexes):
        raise ValueError("several n-grams of one place are not supported")
    lead, width = list(data.ty.shape.values[:-1]), max(indexes) + 1
    parts = list({id(counts): counts for counts, _ in columns.values()}.values())
    blank = c.emit(op.full([*lead, 1], relax.const(0, "float32"), "float32"))
    starts, at = {}, 1
    for part in parts:
        starts[id(part)] = at
        at += int(part.ty.shape.values[-1])
    order = [0] * width
    for place, (counts, i) in columns.items():
        order[place] = starts[id(counts)] + i
    joined = c.emit(op.concat([blank, *parts], -1))
    found = c.emit(op.take(joined, const(order, np.int64), rank - 1))
    if mode != "TF":
        weights = np.ones(width, np.float32)
        if "weights" in c.attrs:
            weights[indexes] = c.attrs["weights"]
        if mode == "IDF":
            found = c.emit(op.minimum(found, scalar_like(1, found)))
        found = op.multiply(found, const(weights))
    return found


def _grams(c: OnnxContext, total: int) -> list[tuple[int, int, Any]]:
    """(n, position of its first n-gram, the n-grams [P, n]), of every n that counts."""
    pool = np.asarray(c.attrs["pool_int64s"], np.int64)
    ends = [*(int(n) for n in c.attrs["ngram_counts"]), len(pool)]
    low, high = int(c.attrs["min_gram_length"]), int(c.attrs["max_gram_length"])
    grams, first = [], 0
    for i, (begin, end) in enumerate(itertools.pairwise(ends)):
        size = i + 1
        if not 0 <= begin <= end <= len(pool) or (end - begin) % size:
            raise RefusedError(f"its {size}-grams are elements {begin} to {end} of {len(pool)}")
        part = pool[begin:end].reshape(-1, size)
        if low <= size <= high and len(part):
            grams.append((size, first, part))
        first += len(part)
    if first != total:
        raise RefusedError(f"its pool holds {first} n-grams for {total} ngram_indexes")
    return grams


def _counts(c: OnnxContext, data: Any, length: int, size: int, pool: Any) -> Any:
    """How often each n-gram is there, [.., P]; None where no window is long enough."""
    skips = int(c.attrs.get("max_skip_count", 0)) if size > 1 else 0
    windows = [
        begin + np.arange(size) * (skip + 1)
        for skip in range(skips + 1)
        for begin in range(length - (size - 1) * (skip + 1))
    ]
    if not windows:
        return None
    rank = data.ty.ndim
    taken = c.emit(op.take(data, const(np.stack(windows), np.int64), rank - 1))
    pools = const(pool, dtype_of(data))
    same = c.emit(op.equal(c.emit(op.expand_dims(taken, rank)), pools))  # [.., W, P, n]
    equal = c.emit(op.min(c.emit(op.astype(same, "float32")), -1))
    return c.emit(op.sum(equal, -2))


def array_feature_extractor(c: OnnxContext) -> Any:
    """ArrayFeatureExtractor 1 of ai.onnx.ml: some columns."""
    data, columns = c[0], c.emit(op.reshape(c[1], [-1]))
    if data.ty.ndim == 1:
        data = c.emit(op.expand_dims(data, 0))
    return op.take(data, columns, data.ty.ndim - 1, mode="wrap")


def binarizer(c: OnnxContext) -> Any:
    """Binarizer 1 of ai.onnx.ml: 1 above the threshold."""
    data = c[0]
    above = c.emit(op.greater(data, scalar_like(c.attrs.get("threshold", 0.0), data)))
    return op.where(above, scalar_like(1, data), scalar_like(0, data))


FEATURES: Mapping[tuple[str, str], Converter] = {
    ("", "TfIdfVectorizer"): tf_idf,
    ("ai.onnx.ml", "ArrayFeatureExtractor"): array_feature_extractor,
    ("ai.onnx.ml", "Binarizer"): binarizer,
}
"""(domain, operator) → converter."""
