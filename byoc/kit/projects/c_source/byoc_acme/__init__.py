"""The vendor acme: each segment becomes C, which this machine's compiler compiles."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import pydantic

from byoc import Artifact, PythonRuntime, Segment, Vendor
from byoc.kit.capability import Capability, Operand, PatternsOf
from byoc.kit.compiler import compile_c, find_compiler, load_bytes

CLAIMS = [
    Capability(
        op="matmul",
        inputs=(Operand(rank=(2, 3, 4)), Operand(rank=2, constant=True)),
        tail="bias? nn.relu?",
    )
]


class Options(pydantic.BaseModel):
    """What users may set: ``vendors={"acme": {"optimise": 3}}``."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    optimise: int = pydantic.Field(2, ge=0, le=3, description="The compiler's -O.")


def layers(segment: Segment) -> Iterator[str]:
    """A loop nest for each composite, in the order in which they run."""
    place = {v: f"in[{n}]" for n, v in enumerate(segment.inputs)}
    place |= {v: f"con[{n}]" for n, v in enumerate(segment.constants)}
    place |= {v: f"out[{n}]" for n, v in enumerate(segment.outputs)}
    scratch = 0
    for composite in sorted(segment.composites, key=lambda c: c.nodes[-1]):
        data, weight = segment.nodes[composite.nodes[0]].inputs
        result = segment.nodes[composite.nodes[-1]].outputs[0]
        rows = prod(int(d) for d in segment.type(data).shape[:-1])
        depth, columns = segment.type(weight).shape
        if result not in place:
            place[result] = f"(tmp + {scratch})"
            scratch += rows * int(columns)
        bias = f"{place[composite.parts['bias']]}[j]" if "bias" in composite.parts else "0"
        value = "sum < 0 ? 0 : sum" if "nn.relu" in composite.parts else "sum"  # keeps NaN
        yield f"""
  for (long i = 0; i < {rows}; ++i)
    for (long j = 0; j < {columns}; ++j) {{
      float sum = {bias};
      for (long k = 0; k < {depth}; ++k)
        sum += {place[data]}[i * {depth} + k] * {place[weight]}[k * {columns} + j];
      {place[result]}[i * {columns} + j] = {value};
    }}"""
    yield f"\n  /* scratch */\n}}\nconst long acme_scratch = {scratch};\n"


def compile_segment(segment: Segment, options: Options) -> Artifact:
    """Write C, compile it: the blob is the library."""
    head = "void acme_run(const float **in, float **out, const float **con, float *tmp) {"
    library = compile_c(head + "".join(layers(segment)), (f"-O{options.optimise}",))
    return Artifact(segment.name, segment.vendor, library, tuple(segment.constants.values()))


def pointers(arrays: Sequence[Any]) -> Any:
    """The arrays' addresses, as C takes them."""
    return (ctypes.c_void_p * max(len(arrays), 1))(*(array.ctypes.data for array in arrays))


def init(blob: bytes, constants: Sequence[Any], options: Mapping[str, Any]) -> Callable[..., None]:
    """Load the library; what a call changes belongs to the call."""
    library = load_bytes(blob)
    scratch = ctypes.c_long.in_dll(library, "acme_scratch").value
    known = pointers(constants)

    def execute(inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        own = (ctypes.c_float * max(scratch, 1))()
        library.acme_run(pointers(inputs), pointers(outputs), known, own)

    execute.constants = constants  # type: ignore[attr-defined]  # alive as long as their addresses
    return execute


def status() -> str | None:
    """Why the vendor cannot be used here, if so."""
    return None if find_compiler("CC") else "there is no C compiler; install gcc or set CC"


VENDOR = Vendor(
    "acme", "0.1.0", PatternsOf(CLAIMS), compile_segment, PythonRuntime(init), status, Options
)
