"""How long a dry run takes: import, normal form and partition of a chain, in CPU seconds.

    python benchmarks/dry_run.py [--ops 25000] [--repeat 3] [--against CHECKOUT]

The chain is an ONNX file of Conv, Add, Relu, Tanh, …, with weights of their own; a vendor takes all
but Tanh, so every fourth op begins a segment. `--against` runs another checkout in turns with this
one, so that both see the same machine. Prints one JSON object: the least of --repeat, by checkout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent


def write_chain(path: Path, ops: int, channels: int = 8) -> None:
    """``ops`` / 4 times Conv, Add, Relu and Tanh, as an ONNX file."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, stored, current = [], [], "x"
    for k in range(ops // 4):
        for name, shape in ((f"w{k}", (channels, channels, 1, 1)), (f"b{k}", (1, channels, 1, 1))):
            array = rng.standard_normal(shape).astype("float32")
            stored.append(numpy_helper.from_array(array, name))
        for op, more in (("Conv", [f"w{k}"]), ("Add", [f"b{k}"]), ("Relu", []), ("Tanh", [])):
            result = f"{op}{k}"
            nodes.append(helper.make_node(op, [current, *more], [result], name=f"block.{k}.{op}"))
            current = result
    ports = [helper.make_tensor_value_info(n, 1, [1, channels, 4, 4]) for n in ("x", current)]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], stored)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def measure(checkout: str, model: str) -> dict[str, Any]:
    """One dry run with the byoc of a checkout, in this process."""
    # An editable install would come first.
    sys.meta_path[:] = [f for f in sys.meta_path if "skbc" not in type(f).__module__]
    sys.path[:0] = [checkout, f"{checkout}/benchmarks"]
    from partition_scaling import make_vendor

    import byoc.compiler
    from byoc.vendor import NativeRuntime

    if not Path(byoc.__file__).is_relative_to(checkout):
        raise SystemExit(f"byoc comes from {byoc.__file__}, not from {checkout}")
    vendor = replace(make_vendor(), runtime=NativeRuntime("byoc_runtime"))
    start = time.process_time()
    parts = byoc.compiler.partition_model(model, vendors=[vendor], min_segment_ops=1)
    return {"cpu_seconds": time.process_time() - start, "segments": len(parts.segments)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", type=int, default=25_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--one", nargs=2, metavar=("CHECKOUT", "MODEL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    checkouts = [HERE.parent, *([args.against.resolve()] if args.against else [])]
    least: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "chain.onnx"
        write_chain(model, args.ops)
        for _ in range(args.repeat):
            for checkout in map(str, checkouts):
                command = [sys.executable, __file__, "--one", checkout, str(model)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout)
                known = least.setdefault(checkout, found)
                least[checkout] = min(known, found, key=lambda f: float(f["cpu_seconds"]))
    print(json.dumps({"ops": args.ops, "least": least}, indent=1))


if __name__ == "__main__":
    main()
