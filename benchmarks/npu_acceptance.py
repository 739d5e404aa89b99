"""The promises of the npu and of quantisation, checked on this machine, with the figures seen.

Usage: ``python -m benchmarks.npu_acceptance [CHECK …]``; exit status 1 when a claim fails. All take
some minutes on two cores; `overlap` and `speed` want a quiet machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

import byoc
from benchmarks.acceptance import Claim
from benchmarks.npu_agreement import (
    NETWORKS,
    images,
    logits_of,
    measure_agreement,
    measure_layers,
    onnxruntime_run,
    quantised,
)
from benchmarks.npu_overlap import measure_overlap
from byoc.testing.zoo import model_path
from byoc.vendor_templates.npu import VENDOR
from byoc.vendor_templates.npu.compile import measure
from byoc.vendor_templates.npu.machine.program import decode_program

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "vendors" / "npu"
CORE = ("validate", "timing", "execute", "gemm")


def _tests(what: str, *arguments: str) -> Iterator[Claim]:
    """Run tests; a claim that none failed, and that some ran."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1]
    found = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", last)}
    yield Claim(f"{what}: tests passed", found.get("passed", 0), 1, at_least=True)
    yield Claim(f"{what}: tests failed", found.get("failed", 0) + found.get("error", 0), 0)


def check_layers() -> Iterator[Claim]:
    """5 000 random layers, in 20 blocks of 250, against the integer reference."""
    path = str(TESTS / "test_npu_layers.py")
    for claim in _tests("5000 random layers", path, "--slow", "-k", "five_thousand"):
        limit = 20.0 if claim.at_least else claim.limit
        yield Claim(claim.what, claim.found, limit, claim.at_least)


def check_integers() -> Iterator[Claim]:
    """Each requantisation of whole networks, given ONNX Runtime's own inputs."""
    for name in NETWORKS:
        total, differ, worst = measure_layers(name)
        yield Claim(f"{name}: integers compared", total, 5e6, at_least=True)
        yield Claim(f"{name}: integers that differ", differ)
        yield Claim(f"{name}: largest difference, steps", worst, 1)


def check_agreement() -> Iterator[Claim]:
    """The class named for 200 random images."""
    for name in NETWORKS:
        found = measure_agreement(name, 200)
        yield Claim(f"{name}: same class as ONNX Runtime", found.share, 0.99, at_least=True)
        yield Claim(f"{name}: equal logits", found.same_bits / found.inputs)
        yield Claim(
            f"{name}: ONNX Runtime with and without optimisations", found.yardstick / found.inputs
        )


def check_cycles() -> Iterator[Claim]:
    """Closed forms, lower bound and gain of double buffering; utilisation of whole networks."""
    yield from _tests("cycle model", str(TESTS / "test_npu_timing.py"))
    for name, limit in (("resnet50", 0.70), ("mobilenet_v2", None)):
        executable = byoc.compile(quantised(name)[0], vendors=[VENDOR])
        for artifact in executable._program.artifacts:
            program = decode_program(artifact.blob)
            used = measure(program).utilisation(program.config)
            yield Claim(f"{name}: MAC utilisation", used, limit, at_least=True)


def check_offload() -> Iterator[Claim]:
    """Coverage, and mixed plans with some layers in float beside the int8 ones."""
    for name in NETWORKS:
        full, port, shape = quantised(name)
        alone = byoc.partition_model(full, vendors=[VENDOR]).report
        yield Claim(f"{name}: MACs on the npu", alone.coverage.flops, 0.99, at_least=True)
        kept = tuple(n.name for n in full.graph.node if n.op_type == "Conv")[10:13]
        model = logits_of(quantised(name, exclude=kept)[0])
        reference = onnxruntime_run(model, port)
        exact = onnxruntime_run(logits_of(onnx.load(model_path(name))), port)
        mixed = byoc.compile(model, vendors=[VENDOR, "dnnl"])
        places = {segment.vendor for segment in mixed.report.segments}
        yield Claim(f"{name}: vendors in the mixed plan", len(places), 2, at_least=True)
        # A last bit of a float layer may flip a step, which grows from layer to layer as it does
        # between ONNX Runtime's own modes; so what counts is how far both are from the float model.
        ours, theirs, apart = [], [], []
        for x in images(shape, 4):
            expected, floats = reference(x), exact(x)
            found = np.asarray(mixed(x))
            ours.append(np.linalg.norm(found - floats))
            theirs.append(np.linalg.norm(expected - floats))
            apart.append(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        ratio = float(np.mean(ours) / np.mean(theirs))
        yield Claim(f"{name}: error of the mixed plan, over ONNX Runtime's", ratio, 1.2)
        yield Claim(f"{name}: mixed plan and ONNX Runtime apart", float(max(apart)), 0.15)


def check_overlap() -> Iterator[Claim]:
    """A paced npu beside the host."""
    best = max(measure_overlap().speedup for _ in range(3))
    yield Claim("paced npu and host together, over serial", best, 1.8, at_least=True)


def check_speed() -> Iterator[Claim]:
    """Multiply-accumulates per second of the simulator: one call at a time, so one core."""
    full, _, shape = quantised("resnet50")
    executable = byoc.compile(full, vendors=[VENDOR])
    macs = sum(measure(decode_program(a.blob)).macs for a in executable._program.artifacts)
    times = []
    for x in images(shape, 5):
        start = time.perf_counter()
        executable(x)
        times.append(time.perf_counter() - start)
    yield Claim("simulator, GMAC/s", macs / min(times) / 1e9, 1, at_least=True)


def check_faults() -> Iterator[Claim]:
    """Every kind of fault, the configuration's errors, mixed plans of a small net."""
    files = ("test_npu_vendor.py", "test_npu_config.py", "test_npu_mixed.py", "test_npu_isa.py")
    yield from _tests("faults, configurations", *(str(TESTS / file) for file in files))


def check_fuzz() -> Iterator[Claim]:
    """100 000 streams under the address and undefined-behaviour sanitizers."""
    folder = ROOT / "vendor_templates" / "npu"
    with tempfile.TemporaryDirectory() as build:
        table, fuzz = Path(build, "isa_table.h"), Path(build, "fuzz")
        subprocess.run(
            [sys.executable, folder / "isa" / "generate.py", folder / "isa" / "isa.json", table],
            check=True,
        )
        sources = [folder / "src" / f"{name}.cc" for name in CORE] + [TESTS / "fuzz.cc"]
        command = ["g++", "-std=c++17", "-O1", "-ffp-contract=off", "-fno-math-errno"]
        command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        command += [f"-I{build}", f"-I{folder / 'src'}", *map(str, sources), "-o", str(fuzz)]
        subprocess.run(command, check=True)
        done = subprocess.run([fuzz, "100000"], capture_output=True, text=True, check=False)
    counts = [int(n) for n in re.findall(r"(\d+) (?:executed|rejected)", done.stdout)]
    yield Claim("fuzz: streams executed or rejected", sum(counts), 100_000, at_least=True)
    yield Claim("fuzz: exit status", abs(done.returncode), 0)


CHECKS: Mapping[str, Callable[[], Iterator[Claim]]] = {
    "fuzz": check_fuzz,
    "layers": check_layers,
    "cycles": check_cycles,
    "faults": check_faults,
    "integers": check_integers,
    "agreement": check_agreement,
    "offload": check_offload,
    "speed": check_speed,
    "overlap": check_overlap,
}


def main() -> None:
    """Run the checks that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.checks) - set(CHECKS):
        parser.error(f"no check {', '.join(sorted(unknown))}; legal: {', '.join(CHECKS)}")
    failed = 0
    for name in arguments.checks or CHECKS:
        start = time.perf_counter()
        print(f"── {name}", flush=True)
        for claim in CHECKS[name]():
            failed += not claim.ok
            print(claim, flush=True)
        print(f"   {time.perf_counter() - start:.0f} s", flush=True)
    print(f"── {failed} claims failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
