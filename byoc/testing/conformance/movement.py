"""Cases of ops that move numbers: every bit must arrive, bad indices must be named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.edges import FLOATS, WHOLE, edge_values

__all__ = ["movement_cases"]

_ALL = (*FLOATS, *WHOLE, "bool")


def _tensor(dtype: str, *shape: int) -> Array:
    return np.ascontiguousarray(np.resize(edge_values(dtype), shape))


def movement_cases() -> Iterator[Claim]:
    """Yield the cases of shapes, cuts, joins, padding and indices."""
    for dtype in _ALL:
        yield from _shapes(dtype)
        yield from _pads(dtype)
        yield from _takes(dtype)


def _made(op: str, *extra: Any, **named: Any) -> Callable[[Sequence[Any]], Any]:
    def build(inputs: Sequence[Any]) -> Any:
        from tvm.relax import op as ops

        made: Any = ops
        for part in op.split("."):
            made = getattr(made, part)
        return made(*inputs, *extra, **named)

    return build


def _shapes(dtype: str) -> Iterator[Claim]:
    x = _tensor(dtype, 4, 6)
    thin = _tensor(dtype, 1, 4, 1, 6)
    forms: list[tuple[str, str, Callable[[Sequence[Any]], Any], Array, Callable[[Array], Array]]]
    forms = [
        ("reshape", "", _made("reshape", (3, 8)), x, lambda a: a.reshape(3, 8)),
        ("flatten", "", _made("flatten"), x, np.ravel),
        ("nn.batch_flatten", "", _made("nn.batch_flatten"), thin, lambda a: a.reshape(1, 24)),
        ("expand_dims", "", _made("expand_dims", 1), x, lambda a: a[:, None]),
        ("squeeze", "", _made("squeeze", [0, 2]), thin, lambda a: a.reshape(4, 6)),
        ("permute_dims", "", _made("permute_dims", [1, 0]), x, np.transpose),
        ("broadcast_to", "", _made("broadcast_to", (3, 4, 6)), x, lambda a: np.stack([a] * 3)),
        (
            "strided_slice",
            "",
            _made("strided_slice", [0, 1], [1, 0], [4, 5], [2, 3]),
            x,
            lambda a: a[1:4:2, 0:5:3],
        ),
        (
            "strided_slice",
            "backwards",
            _made("strided_slice", [1], [5], [-100], [-2]),
            x,
            lambda a: a[:, 5::-2],
        ),
        (
            "concat",
            "",
            lambda v: _made("concat")([[v[0], v[0]], 1]),
            x,
            lambda a: np.concatenate([a, a], 1),
        ),
        (
            "split",
            "",
            lambda v: _made("split", [1, 4], 1)(v)[1],
            x,
            lambda a: a[:, 1:4],
        ),
    ]
    for op, label, build, value, want in forms:
        yield Claim(op, f"{dtype} {label}".strip(), build, ((value,),), want)
    nothing = np.zeros((0, 3), numpy_dtype(dtype))
    yield Claim(
        "reshape",
        f"{dtype} empty",
        _made("reshape", (3, 0)),
        ((nothing,),),
        lambda a: a.reshape(3, 0),
    )


def _pads(dtype: str) -> Iterator[Claim]:
    x = _tensor(dtype, 3, 5)
    values: list[float] = [0, 1]
    if dtype in WHOLE:
        values += [np.iinfo(numpy_dtype(dtype)).max, np.iinfo(numpy_dtype(dtype)).min]
    if dtype == "int64":
        values += [2**53 + 1, -(2**53) - 1]
    if dtype in FLOATS:
        values += [float("-inf"), -0.5]
    for value in dict.fromkeys(values):
        if dtype == "int64" and abs(value) >= 2**53:
            continue  # Relax holds the number as a float64: frontends must not make such a pad

        def want(a: Array, value: float = value) -> Array:
            return np.pad(a, ((1, 0), (0, 2)), constant_values=value)

        build = _made("nn.pad", [1, 0, 0, 2], "constant", value)
        yield Claim("nn.pad", f"{dtype} of {value}", build, ((x,),), want)
    for mode in ("reflect", "edge"):

        def moded(a: Array, mode: Any = mode) -> Array:
            return np.pad(a, ((1, 0), (0, 2)), mode=mode)

        yield Claim(
            "nn.pad", f"{dtype} {mode}", _made("nn.pad", [1, 0, 0, 2], mode), ((x,),), moded
        )


def _takes(dtype: str) -> Iterator[Claim]:
    """Indices from 0 on and from the end, as the mode has it; outside they are errors."""
    x = _tensor(dtype, 4, 6)
    for kind in ("int64", "int32"):
        for axis in (0, 1, -1):
            size = x.shape[axis]
            legal = np.array([[0, size - 1], [2, 1]], kind)
            ends = np.array([[-1, -size], [0, size - 1]], kind)

            def want(a: Array, i: Array, axis: int = axis) -> Array:
                return np.take(a, i, axis)

            label = f"{dtype} by {kind} axis {axis}"
            for mode, feeds in (
                ("wrap", ((x, legal), (x, ends))),
                ("fast", ((x, legal),)),
            ):
                build = _made("take", axis=axis, mode=mode)
                yield Claim("take", f"{label} {mode}", build, feeds, want)
                if dtype not in ("float32", "int32"):
                    continue
                bad = [size, -size - 1, 2**31 - 1, -(2**31)]
                bad += [2**32, 2**32 + 1, -(2**32), 2**63 - 1] if kind == "int64" else []
                bad += [-1] if mode == "fast" else []
                for index in bad:
                    yield Claim(
                        "take",
                        f"{label} {mode} index {index}",
                        build,
                        ((x, np.array([0, index], kind)),),
                        None,
                        words="ind(ex|ices)",
                    )

            def clipped(a: Array, i: Array, axis: int = axis) -> Array:
                return np.take(a, np.clip(i, 0, a.shape[axis] - 1), axis)

            wild = np.array([-1, 0, size, size - 1, 2**31 - 1], kind)
            build = _made("take", axis=axis, mode="clip")
            yield Claim("take", f"{label} clip", build, ((x, wild),), clipped)
        scalar = np.array(-1, kind)
        build = _made("take", axis=0, mode="wrap")
        yield Claim(
            "take", f"{dtype} by a {kind}", build, ((x, scalar),), lambda a, i: np.take(a, i, 0)
        )
    assert prod(x.shape) == x.size
