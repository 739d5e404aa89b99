"""``byoc npu``: look into programs of the sample accelerator.

In: a compiled model (.byoc). Out: the instructions of its npu segments, or what the cycle model
says of them. The command line finds `app` by the entry point ``npu`` of group ``byoc.commands``.
"""

from __future__ import annotations

import json as json_text
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.errors import ArtifactError, choices

if TYPE_CHECKING:
    from byoc.vendor_templates.npu.machine.program import NpuProgram
    from byoc.vendor_templates.npu.machine.simulator import Counters

__all__ = ["app"]

app = typer.Typer(help="Look into programs of the sample accelerator npu.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
_Compiled = Annotated[
    Path, typer.Argument(metavar="OUT.byoc", help="A compiled model.", show_default=False)
]
_Segment = Annotated[
    str | None,
    typer.Option(
        "--segment", metavar="NAME", help="Which segment (default: all).", show_default=False
    ),
]


@app.command("disasm")
def disasm(model: _Compiled, segment: _Segment = None, json: _Json = False) -> None:
    """Print the instructions of npu segments as assembler text."""
    from byoc.vendor_templates.npu.isa.instructions import disassemble

    programs = _programs(model, segment)
    if json:
        _print_json(
            {
                name: [
                    {"op": i.op, "wait": i.wait, "signal": i.signal, **i.fields}
                    for i in program.instructions
                ]
                for name, program in programs.items()
            }
        )
        return
    for name, program in programs.items():
        starts: dict[int, list[str]] = {}
        for source, first in program.operations:
            starts.setdefault(first, []).append(source)
        print(f"# segment {name}: {len(program.instructions)} instructions")
        for index, instruction in enumerate(program.instructions):
            for source in starts.get(index, ()):
                print(f"# {source}")
            print(disassemble([instruction]), end="")


@app.command("stats")
def stats(model: _Compiled, segment: _Segment = None, json: _Json = False) -> None:
    """Print what the cycle model says of npu segments."""
    from byoc.vendor_templates.npu.compile import measure

    programs = _programs(model, segment)
    found = {name: measure(program) for name, program in programs.items()}
    if json:
        _print_json(
            {
                name: {
                    **{k: v for k, v in asdict(counters).items() if k != "trace"},
                    "milliseconds": _milliseconds(programs[name], counters),
                    "utilisation": counters.utilisation(programs[name].config),
                }
                for name, counters in found.items()
            }
        )
        return
    for name, counters in found.items():
        print(
            f"{name}: {counters.cycles} cycles, {_milliseconds(programs[name], counters):.3f} ms, "
            f"MAC utilisation {counters.utilisation(programs[name].config):.1%}"
        )
        print(f"  {counters.bytes_loaded} bytes loaded, {counters.bytes_stored} stored")
        for unit, busy in counters.busy.items():
            print(f"  {unit:8} busy {busy} cycles, waiting for tokens {counters.stall[unit]}")


def _print_json(value: dict[str, object]) -> None:
    print(json_text.dumps(value, indent=2))


def _milliseconds(program: NpuProgram, counters: Counters) -> float:
    return counters.cycles / (program.config.clock_mhz * 1e3)


def _programs(path: Path, segment: str | None) -> dict[str, NpuProgram]:
    """The npu programs of a .byoc file, by segment.

    Raises ArtifactError when the file cannot be read or holds no such program.
    """
    from byoc.errors import ModelError
    from byoc.vendor_templates.npu.machine.program import decode_program

    programs = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.startswith("segments/") and member.endswith(".bin"):
                    blob = archive.read(member)
                    if blob.startswith(b"BYOCNPU"):
                        program = decode_program(blob)
                        programs[program.segment] = program
    except (OSError, zipfile.BadZipFile, ModelError) as error:
        raise ArtifactError(f"{path}: cannot be read as a compiled model: {error}") from error
    if not programs:
        raise ArtifactError(f"{path}: it holds no segment of the vendor 'npu'")
    if segment is not None:
        if segment not in programs:
            raise ArtifactError(f"{path}: no npu segment {segment!r}; {choices(segment, programs)}")
        return {segment: programs[segment]}
    return programs
