"""``python -m byoc.testing.conformance openvino --json findings.json``: sweep a vendor's claims."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from byoc.testing.conformance.sweep import ClaimOutcome, all_cases, as_json, sweep


def main() -> int:
    """Run a sweep, print what is not right, return 1 where a claim is wrong."""
    parser = argparse.ArgumentParser(prog="byoc.testing.conformance", description=__doc__)
    parser.add_argument("vendor", help="a vendor's name, or host")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--json", type=Path, help="write the findings here")
    parser.add_argument("--refusals", action="store_true", help="print refusals, too")
    given = parser.parse_args()

    def show(finding: ClaimOutcome) -> None:
        if finding.verdict in ("wrong", "failed") or (
            given.refusals and finding.verdict == "refused"
        ):
            print(f"{finding.verdict:8}{finding.op} {finding.label}: {finding.detail}", flush=True)

    cases = [case for case in all_cases() if given.only in case.name]
    findings = sweep(None if given.vendor == "host" else given.vendor, cases, each=show)
    summary = as_json(given.vendor, findings)
    print(", ".join(f"{count} {verdict}" for verdict, count in summary["counts"].items()))
    if given.json is not None:
        given.json.write_text(json.dumps(summary, indent=1) + "\n")
    return int(any(f.verdict in ("wrong", "failed") for f in findings))


if __name__ == "__main__":
    sys.exit(main())
