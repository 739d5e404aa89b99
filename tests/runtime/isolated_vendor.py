"""A vendor in numpy that another process can import, and that fails as its blob says."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
from runtime_programs import elementwise

from byoc.runtime import Healing, Isolation, Plan, Program, Twin, VendorUse
from byoc.runtime.plan import PlanTensor, Port, Task
from byoc.segment import Artifact
from byoc.testing.fault_injection import Counter, fail
from byoc.vendor import PythonRuntime

SHAPE = (64, 16)  # what the host kernel `add_one` takes
PORTS = (PlanTensor(SHAPE, "float32", "input"), PlanTensor(SHAPE, "float32", "output"))
ADD_ONE = Plan((Port("x0", 0),), (Port("y0", 1),), PORTS, (Task("host", "add_one", (0, 1), 1),), 0)


def init(blob: bytes, constants: Any, options: Any) -> Any:
    """The blob is JSON: expression of x, c, o; faults: call → fault; counter; fault at loading."""
    what = json.loads(blob)
    if what.get("load"):
        fail(what["load"])
    counter = Counter(what.get("counter"))

    def execute(inputs: Any, outputs: Any) -> None:
        number = counter()
        fault = what.get("faults", {}).get(str(number))
        if fault is not None and fault != "nan":
            fail(fault)
        scope = {"x": inputs, "c": constants, "o": options, "n": number, "np": np}
        results = eval(what.get("expression", "x[0] + 1"), scope)
        for out, result in zip(outputs, results if isinstance(results, tuple) else (results,),
                               strict=True):  # fmt: skip
            out[...] = result * np.nan if fault == "nan" else result

    return execute


RUNTIME = PythonRuntime(init)


def one(expression: str = "x[0] + 1", shape=SHAPE, inputs=1, constants=(), **more) -> Program:
    """One segment, out of process."""
    base = elementwise("", shape, inputs=inputs)
    blob = json.dumps({"expression": expression, **more}).encode()
    (artifact,) = base.artifacts
    return dataclasses.replace(
        base,
        artifacts=(dataclasses.replace(artifact, blob=blob, constants=constants),),
        vendors={"numpy": VendorUse("1", {"k": 2}, RUNTIME, "npu")},
        isolation=Isolation(),
    )


def chain(
    kernels: bytes, *segments: dict[str, Any], healing: Healing | None = None, **limits: Any
) -> Program:
    """x + 1 for each of `segments`, which are what `init` reads and "vendor", "processor".

    All have host twins if there is a `healing`. limits: of the isolation.
    """
    base = elementwise("", SHAPE)
    count = len(segments)
    tensors = [*PORTS, *(PlanTensor(SHAPE, "float32", "arena", 0, 4096 * i) for i in range(count))]
    ends = [0, *range(2, count + 1), 1]
    tasks, artifacts, vendors = [], [], {}
    for i, (segment, pair) in enumerate(zip(segments, itertools.pairwise(ends), strict=True)):
        what = dict(segment)
        vendor, processor = what.pop("vendor", "numpy"), what.pop("processor", "npu")
        tasks.append(Task("segment", f"s{i}", pair, 1, (i - 1,) if i else (), processor))
        artifacts.append(Artifact(f"s{i}", vendor, json.dumps(what).encode()))
        vendors[vendor] = VendorUse("1", {}, RUNTIME, processor)
    return dataclasses.replace(
        base,
        body=Plan((Port("x0", 0),), (Port("y", 1),), tuple(tensors), tuple(tasks), 4096 * count),
        host=kernels,
        artifacts=tuple(artifacts),
        vendors=vendors,
        twins={f"s{i}": Twin(ADD_ONE) for i in range(count)} if healing else {},
        healing=healing or Healing(),
        isolation=Isolation(**limits),
    )
