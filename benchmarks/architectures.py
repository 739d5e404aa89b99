"""Architectures of `transformers`, tiny and seeded: which are right, and who computes them.

    python -m benchmarks.architectures --json                        all, a line for each
    python -m benchmarks.architectures --only mixtral,rt_detr
    python -m benchmarks.architectures --write-docs                  docs/architectures.md

Each is made from its configuration with random weights, two layers of 32 to 64 numbers, exported by
torch.export, compiled for the host and dnnl and compared with eager torch on inputs of several
seeds. What becomes of it::

    right          within tolerance; `kept` says what torch itself runs of it, and how often
    wrong          not so; by how much
    refused        byoc says so; the message names the operator
    raw            an error that byoc did not mean to raise
    not exported   torch.export refuses the network; byoc never sees it

`coverage` is the share of FLOPs that each place computes, however small its segments are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import byoc
from benchmarks import architecture_table
from benchmarks.architecture_table import ARCHITECTURES, Architecture, Feed
from byoc.kit.foreign_op import TORCH
from byoc.support.text import percent
from byoc.testing.on_purpose import accident

RESULTS = Path(__file__).parent / "results" / "architectures.json"
PAGE = Path(__file__).parent.parent / "docs" / "architectures.md"
SEEDS = (1, 2, 3)
TOLERANCE = 1e-3
LOOKED_AT = (
    "logits", "last_hidden_state", "pred_boxes", "pooler_output", "image_embeds", "text_embeds",
    "predicted_depth", "class_queries_logits", "masks_queries_logits", "prediction_outputs",
)  # fmt: skip
"""Results that are compared, of those that a network has."""

Row = dict[str, Any]


# -- one of them


def evaluate(name: str, vendors: list[str]) -> Row:
    """What becomes of one architecture.

    Args:
        name: Of `ARCHITECTURES`.
        vendors: Of `byoc.compile`.
    """
    chosen = ARCHITECTURES[name]
    begin = time.perf_counter()
    row: Row = {"name": name, "kind": chosen.kind}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row |= _evaluated(chosen, vendors)
    return row | {"seconds": round(time.perf_counter() - begin, 1)}


def _evaluated(chosen: Architecture, vendors: list[str]) -> Row:
    torch.manual_seed(0)
    try:
        model = _Compared(_made(chosen)).eval()
        feeds = [chosen.feed(torch.Generator().manual_seed(seed)) for seed in SEEDS]
        expected = [model(**_copied(feed)) for feed in feeds]
        apart = [_error(a.numpy(), expected[1][key]) for key, a in expected[0].items()]
        if max(apart) < 10 * TOLERANCE:
            raise ValueError("its results do not depend on its inputs: nothing could be told")
        program = torch.export.export(model, (), _copied(feeds[0]))
    except Exception as error:
        return {"outcome": "not exported", "message": _line(error)}
    try:
        exe = byoc.compile(program, vendors=vendors, min_segment_ops=1, min_segment_flops=0)
        names = [port.name for port in exe.inputs]
        found = [exe.run({n: feed[n] for n in names}) for feed in feeds]
    except Exception as error:
        why = accident(error)
        return {"outcome": "raw" if why else "refused", "message": f"{why} {_line(error)}".strip()}
    errors = [
        _error(result[key], want[key])
        for result, want in zip(found, expected, strict=True)
        for key in want
    ]
    worst = max(errors)
    outcome = "right" if worst < TOLERANCE else "wrong"
    return {"outcome": outcome, "error": float(f"{worst:.1e}"), **_places(exe.report)}


class _Compared(torch.nn.Module):
    """A network with those of its results that are compared."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.inner(**inputs)
        found = {key: out[key] for key in LOOKED_AT if key in out and out[key] is not None}
        return found or {"logits": next(v for v in out.values() if isinstance(v, torch.Tensor))}


def _made(chosen: Architecture) -> Any:
    if not chosen.config:
        return getattr(architecture_table, chosen.model)()
    import transformers

    config = getattr(transformers, chosen.config)(**chosen.options)
    model = getattr(transformers, chosen.model)(config)
    for parameter in model.parameters():  # fresh ones let inputs fade, and hide what is left out
        if parameter.ndim > 1 and parameter.dtype == torch.float32:
            torch.nn.init.kaiming_normal_(parameter)
        elif parameter.ndim == 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # statistics are those of one batch
    if norms:
        model.train()(**chosen.feed(torch.Generator().manual_seed(0)))
    return model


def _copied(feed: Feed) -> Feed:
    return {name: tensor.clone() for name, tensor in feed.items()}


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:700]


def _error(found: Any, expected: torch.Tensor) -> float:
    """The largest difference, of the largest number; infinite where it is none."""
    want = expected.detach().numpy()
    if found.shape != want.shape or found.dtype != want.dtype:
        return float("inf")
    if want.dtype.kind != "f":
        return float("inf") if (found != want).any() else 0.0
    finite = np.isfinite(want)
    if not np.array_equal(found[~finite], want[~finite], equal_nan=True):
        return float("inf")
    scale = max(float(np.abs(want[finite]).max(initial=0)), 1e-6)
    worst = float(np.abs(found[finite] - want[finite]).max(initial=0)) / scale
    return worst if np.isfinite(worst) else float("inf")


def _places(report: Any) -> Row:
    flops: Counter[str] = Counter()
    for op in report.ops:
        flops[op.place] += op.flops or 0
    whole = sum(flops.values())
    kept = Counter(
        verdict.reason.partition("; ")[0]
        for op in report.ops
        if op.op == TORCH
        for verdict in op.verdicts
        if verdict.vendor == "torch"
    )
    left = Counter(op.op for op in report.ops if op.place == "host")
    return {
        "coverage": {place: n / whole for place, n in flops.most_common() if n} if whole else {},
        "segments": len(report.segments),
        "ops": len(report.ops),
        "kept": dict(kept.most_common()),
        "host": dict(left.most_common()),
    }


# -- all of them, and the page


def page(rows: list[Row]) -> str:
    """docs/architectures.md from the results."""
    import transformers

    version = torch.__version__.split("+")[0]
    counts = Counter(row["outcome"] for row in rows)
    lines = [
        "# Architectures of `transformers`",
        "",
        "Written by `python -m benchmarks.architectures --write-docs`: tiny networks of random",
        "weights, exported by `torch.export`, compiled for the host and `dnnl` and compared with",
        f"eager torch on inputs of {len(SEEDS)} seeds. FLOPs are shared by place, however small",
        "its segments are; the difference is the largest, of the largest number. torch runs what",
        "byoc does not import, [in between](pytorch.md#operators-that-byoc-does-not-import). What",
        "`torch.export` refuses is not exported. How much torch computes inside an operator is not",
        "known: the products of experts count as an operation for each number made.",
        f"torch {version}, transformers {transformers.__version__}: "
        f"{', '.join(f'{n} {outcome}' for outcome, n in counts.most_common())}.",
    ]  # fmt: skip
    for kind in dict.fromkeys(row["kind"] for row in rows):
        lines += ["", f"## {kind.capitalize()}", "",
                  "| architecture | | FLOPs by place | segments | difference | run by torch |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
        lines += [_line_of(row) for row in rows if row["kind"] == kind]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _line_of(row: Row) -> str:
    name, outcome = row["name"], row["outcome"]
    if "coverage" not in row:
        message = row["message"].replace("|", "\\|")[:200]
        return f"| {name} | {outcome} | {message} | | | |"
    shares = ", ".join(f"{place} {percent(share)}" for place, share in row["coverage"].items())
    kept = ", ".join(f"`{op}` ({n})" for op, n in row["kept"].items())
    return f"| {name} | {outcome} | {shares} | {row['segments']} | {row['error']:.0e} | {kept} |"


def main() -> int:
    """Run what is asked for; exit 1 when something is wrong, or an error nobody meant to raise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="names, by commas (all of them)")
    parser.add_argument("--vendors", default="dnnl", help="by commas; empty for the host alone")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="start none after these"
    )
    parser.add_argument("--json", action="store_true", help="rows as JSON lines on stdout")
    parser.add_argument("--write-docs", action="store_true", help="write the page from the results")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(ARCHITECTURES)
    unknown = sorted(set(names) - set(ARCHITECTURES))
    if unknown:
        parser.error(f"no such architecture: {', '.join(unknown)}; there are "
                     f"{', '.join(ARCHITECTURES)}")  # fmt: skip
    if any(ARCHITECTURES[name].config for name in names) and not find_spec("transformers"):
        print("transformers is not installed, which makes these networks: pip install transformers")
        return 2
    torch.set_num_threads(1)
    end = time.monotonic() + args.seconds
    rows = {row["name"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    failed = False
    for name in names:
        if time.monotonic() > end:
            break
        row = evaluate(name, [v for v in args.vendors.split(",") if v])
        rows[name] = row
        failed |= row["outcome"] in ("wrong", "raw")
        text = f"{name:22} {row['outcome']:12} {row.get('message', row.get('coverage'))}"
        print(json.dumps(row) if args.json else f"{text} {row.get('kept') or ''}", flush=True)
        ordered = [rows[n] for n in ARCHITECTURES if n in rows]
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    if args.write_docs:
        PAGE.write_text(page([rows[n] for n in ARCHITECTURES if n in rows]), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
