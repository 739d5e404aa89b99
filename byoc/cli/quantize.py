"""``byoc quantize``: a float model and samples in, an int8 model out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import Json, OnnxPath, names, print_json, progress, say
from byoc.cli.inputs.arrays import read_arrays
from byoc.cli.parsing import output_file
from byoc.errors import OptionError

__all__ = ["quantize"]


def quantize(
    model: OnnxPath,
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration",
            metavar="DATA.npz",
            help="Samples: one array [n, ...] for each input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="Q.onnx",
            help="File to write.",
            show_default=False,
            callback=output_file,
        ),
    ],
    method: Annotated[
        str, typer.Option("--method", help="minmax, percentile or entropy.")
    ] = "minmax",
    percentile: Annotated[
        float, typer.Option("--percentile", help="Share of values inside the range, in percent.")
    ] = 99.99,
    activations: Annotated[str, typer.Option("--activations", help="uint8 or int8.")] = "uint8",
    bias_correction: Annotated[
        bool, typer.Option("--bias-correction/--no-bias-correction", help="Correct means.")
    ] = True,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            metavar="E",
            help="Largest relative error of the outputs; the most sensitive layers stay in float.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            "--exclude", metavar="A,B", help="Nodes that stay in float.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Use at most so many samples.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Quantise MODEL to int8 with samples of its inputs; the result carries QDQ pairs."""
    from byoc.quantize import METHODS, quantize_model

    kinds = ("uint8", "int8")
    chosen = next((m for m in METHODS if m == method), None)
    kind = next((k for k in kinds if k == activations), None)
    if chosen is None or kind is None:
        what, legal = ("--method", METHODS) if chosen is None else ("--activations", kinds)
        found = method if chosen is None else activations
        raise OptionError(f"{what} {found!r}; legal: {', '.join(legal)}")
    samples = read_arrays(calibration)
    with progress(f"quantising {model}"):
        result = quantize_model(
            model,
            samples,
            method=chosen,
            percentile=percentile,
            activations="uint8" if kind == "uint8" else "int8",
            bias_correction=bias_correction,
            max_drop=max_drop,
            exclude=names(exclude or ""),
            limit=limit,
        )
    result.save(output)
    kept = [layer for layer in result.layers if not layer.quantised]
    if json:
        print_json(
            {
                "output": str(output),
                "snr_db": result.snr_db,
                "samples": result.samples,
                "engine": result.engine,
                "layers": [
                    {
                        "name": layer.name,
                        "op": layer.op,
                        "snr_db": layer.snr_db,
                        "quantised": layer.quantised,
                        "reason": layer.reason,
                    }
                    for layer in result.layers
                ],
            }
        )
        return
    print(
        f"{output}: {len(result.layers) - len(kept)} of {len(result.layers)} layers in int8, "
        f"{result.snr_db:.1f} dB signal to noise over {result.samples} samples"
    )
    for layer in kept:
        print(f"  float: {layer.op} {layer.name}: {layer.reason}")
    say(f"samples were run by {result.engine}")
