"""Every operator of PyTorch on torch's own samples (`op_db`), against eager torch.

    python benchmarks/torch_op_db.py --dtypes float32,int64 --vendors host,dnnl --json out.json

A line for each sample that is wrong or ends in an error that is none of byoc's; a summary for each
operator goes into the JSON file, with what byoc leaves to torch ("kept") and why. Exit status 1
when there is any such sample.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from byoc.testing.torch_operators import evaluate, operators, samples


def main() -> int:
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtypes", default="float32,int64,bool,float16,bfloat16,uint8")
    parser.add_argument("--vendors", default="host,dnnl", help="sets, by commas; a+b is one set")
    parser.add_argument("--limit", type=int, help="samples of each operator (all of them)")
    parser.add_argument("--ops", default="", help="names of operators, by commas (all of them)")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th operator, from the I-th")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    part, parts = map(int, options.part.split("/"))
    wanted = set(filter(None, options.ops.split(",")))
    end = time.monotonic() + options.seconds
    table: dict[str, dict[str, object]] = {}
    total: Counter[str] = Counter()
    for op in operators()[part::parts]:
        if (wanted and op.name not in wanted) or time.monotonic() > end:
            continue
        counts: Counter[str] = Counter()
        details: list[str] = []
        for dtype in options.dtypes.split(","):
            for sample in samples(op, getattr(torch, dtype), options.limit):
                for vendors in options.vendors.split(","):
                    names = [name for name in vendors.split("+") if name != "host"]
                    outcome = evaluate(sample, names)
                    counts[outcome.kind] += 1
                    if outcome.kind in ("wrong", "raw", "refused", "kept"):
                        text = f"{outcome.kind} {sample.name} {vendors}: {outcome.detail[:300]}"
                        details.append(f"{text}  {sample.arguments[:160]}")
                        if outcome.kind in ("wrong", "raw"):
                            print(details[-1], flush=True)
                    if "no converter" in outcome.detail:
                        break
                else:
                    continue
                break
        name = f"{op.name}.{op.variant_test_name}".rstrip(".")
        table[name] = {"counts": dict(counts), "details": details}
        total += counts
        if options.json:  # after each operator: a crash leaves what was found before
            text = json.dumps({"total": dict(total), "operators": table}, indent=1)
            options.json.write_text(text)
    print(dict(total))
    return int(bool(total["wrong"] or total["raw"]))


if __name__ == "__main__":
    sys.exit(main())
