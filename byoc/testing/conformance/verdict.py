"""What a vendor's outcomes amount to: its level, and what each higher level lacks.

bronze   every claim, trap and call in process is right
silver   and so is every way to run it: several threads, saved, isolated, other processors, options
gold     and in C; what it takes is said as data, and no claim of it is left untried
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

from byoc.testing.conformance.suite import ConformanceOutcome, ConformancePlan

__all__ = ["LEVELS", "ConformanceReport"]

LEVELS = ("bronze", "silver", "gold")
"""From the lowest to the highest."""

_MOST = 12


@dataclass(frozen=True)
class ConformanceReport:
    """What became of all that a vendor was tried with.

    Attributes:
        vendor: Its name.
        plan: What there was to try.
        outcomes: What became of it.
        seconds: How long it took.
    """

    vendor: str
    plan: ConformancePlan
    outcomes: tuple[ConformanceOutcome, ...]
    seconds: float = 0.0

    @property
    def missing(self) -> Mapping[str, tuple[str, ...]]:
        """Level → what it lacks, beside what lower ones lack."""
        found: dict[str, list[str]] = {level: [] for level in LEVELS}
        if not any(o.group == "claim" for o in self.outcomes):
            found["bronze"].append("no claim: the vendor takes nothing of what is tried")
        for outcome in self.outcomes:
            if outcome.verdict != "right":
                text = f"{outcome.group} {outcome.name!r}: {outcome.verdict}"
                found[outcome.level].append(f"{text}: {outcome.detail}" if outcome.detail else text)
        if not self.plan.told:
            found["gold"].append("what it takes is not said as data (byoc.kit.capability)")
        if self.plan.untested:
            found["gold"].append(f"patterns that nothing tried: {', '.join(self.plan.untested)}")
        return {level: tuple(lacks) for level, lacks in found.items()}

    @property
    def level(self) -> str:
        """The highest level whose demands, and those of lower ones, are all met; or "none"."""
        reached = "none"
        for level in LEVELS:
            if self.missing[level]:
                break
            reached = level
        return reached

    def reaches(self, level: str) -> bool:
        """Return whether a level is met.

        Args:
            level: "bronze", "silver" or "gold".
        """
        return self.level in LEVELS[LEVELS.index(level) :]

    def table(self) -> str:
        """Return it as text: counts, the level, and what higher ones lack."""
        lines = [f"{self.vendor}: {self.level} ({self.seconds:.0f} s)", ""]
        for group in ("claim", "trap", "mode", "options"):
            counts = Counter(o.verdict for o in self.outcomes if o.group == group)
            if counts:
                told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
                lines.append(f"{group + 's' * (group != 'options'):<8} {told}")
        lines.append(f"refused  {len(self.plan.refused)}; and {self.plan.outside} as they must be")
        untested = ", ".join(self.plan.untested) or "none"
        lines.append(f"untested {untested}")
        for level in LEVELS:
            lacks = self.missing[level]
            if lacks:
                lines += ["", f"{level} lacks:"]
                lines += [f"  {text}" for text in lacks[:_MOST]]
                lines += [f"  … and {len(lacks) - _MOST} more"] * (len(lacks) > _MOST)
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Return it as JSON."""
        value: dict[str, Any] = {
            "vendor": self.vendor,
            "level": self.level,
            "missing": {level: list(lacks) for level, lacks in self.missing.items()},
            "untested": self.plan.untested,
            "refused": self.plan.refused,
            "outside": self.plan.outside,
            "seconds": round(self.seconds, 1),
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }
        return json.dumps(value, indent=1) + "\n"

    def to_junit(self) -> str:
        """Return it as the XML that CI systems read."""
        bad = [o for o in self.outcomes if o.verdict not in ("right", "skipped")]
        skipped = [o for o in self.outcomes if o.verdict == "skipped"]
        suite = ElementTree.Element(
            "testsuite",
            name=f"byoc conformance {self.vendor}",
            tests=str(len(self.outcomes)),
            failures=str(len(bad)),
            skipped=str(len(skipped)),
            time=f"{self.seconds:.1f}",
        )
        for outcome in self.outcomes:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{self.vendor}.{outcome.group}", name=outcome.name
            )
            if outcome in skipped:
                ElementTree.SubElement(case, "skipped", message=_legal(outcome.detail))
            elif outcome.verdict != "right":
                failure = ElementTree.SubElement(case, "failure", message=outcome.verdict)
                failure.text = _legal(outcome.detail)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _legal(text: str) -> str:
    """A text without characters that XML does not have."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
