"""The child process of `byoc.testing.conformance.harness`: plans, and does tasks one by one.

The first line on stdin says which vendor; each further one is ``"plan"`` or a task. One line of
JSON answers each on what was stdout; what vendors print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from byoc.errors import ByocError
from byoc.testing.conformance.suite import ConformanceSuite, find_vendor


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    setup = json.loads(sys.stdin.readline())
    try:
        suite = ConformanceSuite(
            find_vendor(setup["vendor"]),
            setup["options"],
            only=setup["only"],
            most_traps=setup["most_traps"],
        )
    except ByocError as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    answer({})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request == "plan":
                answer({"plan": suite.plan().as_dict()})
            else:
                answer({"outcomes": [asdict(outcome) for outcome in suite.run(request)]})
        except ByocError as error:
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
