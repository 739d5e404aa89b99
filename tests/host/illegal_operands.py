"""Every host kernel that data can lead astray, on operands legal and not; run in its own process.

Prints a line for each kernel: its name, how many operands were legal and illegal, and what was not
as numpy has it. A kernel that ends the process leaves its line, and those after it, out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, tirx

import byoc

op = relax.op
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Kernel:
    """One kernel: how to build it, and its operands with what is expected."""

    build: Callable[..., Any]
    cases: Callable[[np.random.Generator], Iterator[tuple[Arrays, np.ndarray | None]]]


def compiled(build: Callable[..., Any], arrays: Arrays, constant: int | None = None) -> Any:
    """The kernel for operands like these; one of them may be a constant of the model."""
    params = [
        relax.Var(f"x{i}", relax.TensorType(a.shape, str(a.dtype))) for i, a in enumerate(arrays)
    ]
    given = [p for i, p in enumerate(params) if i != constant]
    builder = relax.BlockBuilder()
    with builder.function("main", given):
        with builder.dataflow():
            used = [
                relax.const(arrays[i], str(arrays[i].dtype)) if i == constant else p
                for i, p in enumerate(params)
            ]
            out = builder.emit_output(builder.emit(build(*used)))
        builder.emit_func_output(out)
    return byoc.compile(builder.get(), vendors=[])


def indices(
    rng: np.random.Generator, shape: tuple[int, ...], size: int, least: int, dtype: str
) -> Iterator[tuple[np.ndarray, bool]]:
    """Index tensors: random and legal with both ends, then with one element that is not."""
    limits = np.iinfo(dtype)
    legal = rng.integers(least, size, shape).astype(dtype)
    legal.reshape(-1)[:2] = (size - 1, least)[: legal.size]
    yield legal, True
    if not legal.size:
        return
    for wrong in (size, least - 1, limits.max, limits.min):
        illegal = legal.copy()
        illegal.reshape(-1)[rng.integers(legal.size)] = wrong
        yield illegal, False


def by_index(
    data: tuple[int, ...],
    shapes: list[tuple[int, ...]],
    axis: int,
    from_end: bool,
    expected: Callable[..., np.ndarray],
    updates: bool = False,
) -> Callable[[np.random.Generator], Iterator[tuple[Arrays, np.ndarray | None]]]:
    """Cases of a kernel with one index tensor that points into one axis."""

    def cases(rng: np.random.Generator) -> Iterator[tuple[Arrays, np.ndarray | None]]:
        x = rng.normal(size=data).astype(np.float32)
        for shape in shapes:
            for dtype in ("int64", "int32"):
                least = -data[axis] if from_end else 0
                for index, legal in indices(rng, shape, data[axis], least, dtype):
                    operands = (x, index)
                    if updates:
                        operands += (rng.normal(size=shape).astype(np.float32),)
                    yield operands, expected(*operands) if legal else None

    return cases


def scattered(x: np.ndarray, index: np.ndarray, updates: np.ndarray) -> np.ndarray:
    y = x.copy()
    rows = np.where(index < 0, index + x.shape[1], index)
    for row, column in np.ndindex(index.shape):
        y[row, rows[row, column]] += updates[row, column]
    return y


def put(x: np.ndarray, index: np.ndarray, updates: np.ndarray) -> np.ndarray:
    y = x.copy()
    np.add.at(y, index, updates)
    return y


def by_rows(scatter: bool) -> Callable[..., Iterator[tuple[Arrays, np.ndarray | None]]]:
    """Cases of a kernel whose index tensor holds a row of indices for each place."""

    def cases(rng: np.random.Generator) -> Iterator[tuple[Arrays, np.ndarray | None]]:
        x = rng.normal(size=(5, 3, 2)).astype(np.float32)
        for count in (0, 1, 7):
            index = np.stack([rng.integers(0, 5, count), rng.integers(0, 3, count)], -1)
            tries = [(index, True)]
            for column, wrong in ((0, 5), (0, -1), (1, 3), (1, -1), (0, 2**40), (1, -(2**62))):
                if count:
                    illegal = index.copy()
                    illegal[rng.integers(count), column] = wrong
                    tries.append((illegal, False))
            for places, legal in tries:
                operands: Arrays = (x, places)
                if scatter:
                    operands += (rng.normal(size=(count, 2)).astype(np.float32),)
                if not legal:
                    yield operands, None
                    continue
                at = tuple(places.T)
                if not scatter:
                    yield operands, x[at]
                    continue
                y = x.copy()
                np.add.at(y, at, operands[2])
                yield operands, y

    return cases


def divided(name: str) -> Callable[..., Iterator[tuple[Arrays, np.ndarray | None]]]:
    """Cases of a division of whole numbers, the edges of every type among them."""

    def quotient(a: int, b: int) -> int:
        down = a // b
        near = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return {
            "divide": near,
            "floor_divide": down,
            "mod": a - near * b,
            "floor_mod": a - down * b,
        }[name]

    def cases(rng: np.random.Generator) -> Iterator[tuple[Arrays, np.ndarray | None]]:
        for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
            edge = np.iinfo(dtype)
            pool = [edge.max, edge.max - 1, 1, 2, 7, *([edge.min, -1, -7] if edge.min else [])]
            for count in (1, 37):
                a, b = (rng.choice(np.array(pool, dtype), count) for _ in range(2))
                a[0], b[0] = edge.min, -1 if edge.min else 1
                wide = [quotient(int(p), int(q)) for p, q in zip(a, b, strict=True)]
                wrapped = [(w - edge.min) % 2**edge.bits + edge.min for w in wide]
                yield (a, b), np.array(wrapped, dtype)
                b = b.copy()
                b[rng.integers(count)] = 0
                yield (a, b), None

    return cases


LONG = (9001,)  # long enough for several tasks
KERNELS: dict[str, Kernel] = {
    "take": Kernel(
        lambda x, i: op.take(x, i, 0),
        by_index((7, 3), [(), (0,), (5,), (2, 3), LONG], 0, False, lambda x, i: x[i]),
    ),
    "take, negative from the end": Kernel(
        lambda x, i: op.take(x, i, 1, mode="wrap"),
        by_index((3, 7), [(), (0,), (5,), (2, 3), LONG], 1, True, lambda x, i: x[:, i]),
    ),
    "gather_elements": Kernel(
        lambda x, i: op.gather_elements(x, i, 0),
        by_index(
            (7, 3), [(0, 3), (1, 3), (9, 3)], 0, False, lambda x, i: np.take_along_axis(x, i, 0)
        ),
    ),
    "scatter_elements": Kernel(
        lambda x, i, u: op.scatter_elements(x, i, u, 1, "add"),
        by_index((4, 7), [(4, 0), (4, 1), (4, 7)], 1, True, scattered, updates=True),
    ),
    "index_put": Kernel(
        lambda x, i, u: op.index_put(x, relax.Tuple([i]), u, accumulate=True),
        by_index((7,), [(1,), (9,), LONG], 0, True, put, updates=True),
    ),
    "index_tensor": Kernel(
        lambda x, i: op.index_tensor(x, relax.Tuple([i])),
        by_index((7, 3), [(1,), (2, 3)], 0, True, lambda x, i: x[i]),
    ),
    "gather_nd": Kernel(op.gather_nd, by_rows(scatter=False)),
    "scatter_nd": Kernel(
        lambda x, i, u: op.scatter_nd(x, i, u, "add"),
        by_rows(scatter=True),
    ),
    **{
        name: Kernel(getattr(op, name), divided(name))
        for name in ("divide", "floor_divide", "mod", "floor_mod")
    },
}


def _fault(exe: Any, kernel: str, operands: Arrays, wanted: np.ndarray | None) -> str | None:
    try:
        found = exe(*operands)
    except byoc.ExecutionError as error:
        if wanted is not None:
            return f"refused legal operands: {error}"
        texts = (kernel.split(",")[0] + ":", "axis" if "index" in str(error) else "by 0")
        return None if all(text in str(error) for text in texts) else f"unnamed: {error}"
    if wanted is None:
        return f"answered {operands[1].reshape(-1)[:8].tolist()}"
    return None if np.allclose(found, wanted, atol=1e-4) else "differs from numpy"


def main() -> None:
    """Run every kernel on all its cases."""
    for name, kernel in KERNELS.items():
        rng, made, counts, faults = np.random.default_rng(0), {}, [0, 0], []
        for number, (operands, wanted) in enumerate(kernel.cases(rng)):
            key = tuple((a.shape, a.dtype) for a in operands)
            if key not in made:
                made[key] = compiled(kernel.build, operands)
            counts[wanted is None] += 1
            runs = [(made[key], operands)]
            if number < 3:  # the same with a constant second operand
                exe = compiled(kernel.build, operands, constant=1)
                runs.append((exe, operands))
            for run, (exe, given) in enumerate(runs):
                call = (lambda *a, exe=exe: exe(a[0], *a[2:])) if run else exe
                fault = _fault(call, name, given, wanted)
                if fault:
                    faults.append(f"case {number}, constant {bool(run)}: {fault}"[:300])
        print(json.dumps([name, *counts, faults]), flush=True)


def symbolic() -> None:
    """A table of unknown length: the check takes its size when it runs."""
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    table = relax.Var("table", relax.TensorType((n, 3), "float32"))
    index = relax.Var("index", relax.TensorType((m,), "int64"))
    builder = relax.BlockBuilder()
    with builder.function("main", [table, index]):
        with builder.dataflow():
            out = builder.emit_output(op.take(table, index, 0, mode="wrap"))
        builder.emit_func_output(out)
    exe, faults = byoc.compile(builder.get(), vendors=[]), []
    for rows in (1, 4, 9):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        for places, legal in (([0, rows - 1, -rows], True), ([rows], False), ([-rows - 1], False)):
            wanted = x[np.array(places)] if legal else None
            fault = _fault(exe, "take", (x, np.array(places)), wanted)
            faults += [fault] if fault else []
    print(json.dumps(["symbolic", 3, 6, faults]), flush=True)


if __name__ == "__main__":
    symbolic()
    main()
    sys.exit(0)
