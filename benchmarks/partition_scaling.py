"""How partitioning scales: time at N and 2N ops, as one segment and as N/4, and peak memory.

    python benchmarks/partition_scaling.py [--ops 25000] [--repeat 3]

Two synthetic chains with distinct constants and a vendor of ten patterns::

    one        conv+bias+relu, sigmoid, conv+bias+relu, sigmoid, …      all supported: one segment
    alternate  conv+bias+relu, tanh, conv+bias+relu, tanh, …            tanh on the host: N/4

Prints one JSON object: seconds (best of --repeat, module building not counted; cpu_seconds tell
how busy the machine was), the ratio of 2N to N, segments, and peak memory in MB of a process that
builds and partitions the ops.
Each figure comes from a fresh process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def build_chain(ops: int, last: str, channels: int = 8) -> Any:
    """``ops`` / 4 times conv2d, add, relu and `last`; built without TVM's block builder, which
    takes milliseconds per op.
    """
    import tvm
    from tvm import relax

    get = tvm.ir.Op.get
    kind = relax.TensorType((1, channels, 4, 4), "float32")
    rng = np.random.default_rng(0)
    x = relax.Var("x", kind)
    like = relax.BlockBuilder().normalize(
        relax.op.nn.conv2d(x, relax.const(np.ones((channels, channels, 1, 1), "float32")))
    )
    bindings = []
    current = x

    def emit(name: str, call: Any) -> None:
        nonlocal current
        current = relax.DataflowVar(name, kind)
        bindings.append(relax.VarBinding(current, call))

    def call(op: str, *args: Any, attrs: Any = None) -> Any:
        return tvm.ir.Call(get(f"relax.{op}"), list(args), attrs, ret_ty=kind)

    for k in range(ops // 4):
        weight = rng.standard_normal((channels, channels, 1, 1)).astype("float32")
        bias = rng.standard_normal((1, channels, 1, 1)).astype("float32")
        conv = call("nn.conv2d", current, relax.const(weight), attrs=like.attrs)
        emit(f"block.{k}.conv", conv)
        emit(f"block.{k}.bias", call("add", current, relax.const(bias)))
        emit(f"block.{k}.relu", call("nn.relu", current))
        emit(f"block.{k}.{last}", call(last, current))
    result = relax.Var("result", kind)
    bindings.append(relax.VarBinding(result, current))
    builder = relax.BlockBuilder()
    seq = relax.SeqExpr([relax.DataflowBlock(bindings)], result)
    tvm.relax.expr._update_type(seq, kind)
    func = relax.Function([x], seq, kind).with_attr("global_symbol", "main")
    builder.add_func(func, "main")
    return builder.get()


def make_vendor() -> Any:
    """A vendor with ten patterns, the longest first."""
    from byoc.segment import Artifact
    from byoc.vendor import NativeRuntime, Pattern, Vendor

    def patterns() -> list[Pattern]:
        from tvm.relax.dpl import is_const, is_op, wildcard

        def conv() -> Any:
            return is_op("relax.nn.conv2d")(wildcard(), is_const())

        def biased() -> Any:
            return is_op("relax.add")(conv(), is_const())

        def relu(x: Any) -> Any:
            return is_op("relax.nn.relu")(x)

        def plain(op: str, count: int) -> Pattern:
            expr = is_op(f"relax.{op}")(*[wildcard() for _ in range(count)])
            return Pattern(op.replace(".", "_"), expr, parts={"out": expr})

        return [
            Pattern("conv2d_bias_relu", relu(biased())),
            Pattern("conv2d_bias", biased()),
            Pattern("conv2d_relu", relu(conv())),
            Pattern("conv2d", conv()),
            plain("matmul", 2),
            plain("add", 2),
            plain("multiply", 2),
            plain("nn.relu", 1),
            plain("sigmoid", 1),
            plain("concat", 1),
        ]

    return Vendor(
        name="bench",
        version="1",
        patterns=patterns,
        compile=lambda segment, options: Artifact(segment.name, segment.vendor, b""),
        runtime=NativeRuntime("none"),
    )


def measure(ops: int, last: str, repeat: int) -> dict[str, Any]:
    """Best time, segments and peak memory, in this process."""
    from byoc.partition import partition_module

    mod, vendor = build_chain(ops, last), make_vendor()
    found = best_of(ops, repeat, lambda: partition_module(mod, [vendor], min_segment_ops=1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {**found, "peak_mb": round(peak)}


def best_of(ops: int, repeat: int, partition: Callable[[], Any]) -> dict[str, Any]:
    """Best time of a few partitionings in this process, and how many segments came out."""
    best, least, segments = float("inf"), float("inf"), 0
    for _ in range(repeat):
        start, spent = time.perf_counter(), time.process_time()
        result = partition()
        best = min(best, time.perf_counter() - start)
        least = min(least, time.process_time() - spent)
        segments = len(result.segments)
        del result
    return {
        "ops": ops,
        "seconds": round(best, 3),
        "cpu_seconds": round(least, 3),
        "segments": segments,
    }


def fresh(script: str, one: str, ops: int, repeat: int) -> dict[str, Any]:
    """What `script` measures of one case in a process of its own."""
    command = [sys.executable, script, "--one", one, "--ops", str(ops), "--repeat", str(repeat)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure both shapes at N and 2N."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=25_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.ops, args.one, args.repeat)))
        return
    figures: dict[str, Any] = {}
    for shape, last in (("one", "sigmoid"), ("alternate", "tanh")):
        at_n, at_2n = (fresh(__file__, last, args.ops * k, args.repeat) for k in (1, 2))
        ratio = at_2n["seconds"] / at_n["seconds"]
        figures[shape] = {"n": at_n, "2n": at_2n, "ratio": round(ratio, 2)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
