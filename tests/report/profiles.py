"""Profiles made by hand: times in ns, told apart by eye."""

import random

from byoc.runtime import Profile, TaskTime

NASTY = "</script><b>x</b><!-- ü ℞ & \"quoted\" 'too'"


def task(number, name, processor, start, stop, vendor="", request=0, **more):
    fields = {"kind": "segment" if vendor else "host", "source": (), "waited": 0,
              "border_bytes": 0, "nbytes": 64, "critical": False} | more  # fmt: skip
    return TaskTime(request, number, name, fields.pop("kind"), vendor, processor,
                    start=start, stop=stop, **fields)  # fmt: skip


def small_profile():
    """Two queues, one request: conv (npu) ─▶ pool (cpu) ─▶ fc (npu); relu (cpu) aside."""
    return Profile(
        "small",
        ((0, 1_000, 90_000),),
        (
            task(0, "npu_0", "npu", 1_000, 41_000, "npu", critical=True, source=("conv",),
                 border_bytes=4096),
            task(1, "relu", "cpu", 1_000, 6_000, source=("relu1",)),
            task(2, "pool", "cpu", 43_000, 63_000, critical=True, deps=(0, 1), waited=2_000,
                 border_bytes=2048, source=("pool1",)),
            task(3, "npu_1", "npu", 65_000, 90_000, "npu", critical=True, deps=(2,),
                 border_bytes=1024, source=("fc", "bias")),
        ),
    )  # fmt: skip


def long_profile(tasks, requests=1, seed=0):
    """A pipeline over three queues; every request repeats it."""
    rng = random.Random(seed)
    places = [("cpu", ""), ("cpu", "dnnl"), ("npu", "npu"), ("dsp", "acme")]
    plan = [rng.choice(places) for _ in range(tasks)]
    borders = [rng.randrange(64, 1 << 22) if i and plan[i - 1] != plan[i] else 0
               for i in range(tasks)]  # fmt: skip
    free = {"cpu": 0, "npu": 0, "dsp": 0}
    found, spans = [], []
    for request in range(requests):
        submitted = min(free.values())
        done, stops = submitted, []
        for number, (processor, vendor) in enumerate(plan):
            deps = tuple(sorted({d for d in (number - 1, number - 3) if d >= 0}))
            ready = max([submitted, *(stops[d] for d in deps)])
            start = max(ready, free[processor]) + rng.randrange(100, 400)
            stop = start + int(rng.expovariate(1 / 20_000)) + 50
            found.append(
                task(number, f"{vendor or 'fused'}_{number}", processor, start, stop, vendor,
                     request, deps=deps, waited=start - ready, border_bytes=borders[number],
                     critical=number % 2 == 0, source=(f"layer{number}/op",))
            )  # fmt: skip
            free[processor] = stop
            stops.append(stop)
            done = max(done, stop)
        spans.append((submitted, submitted, done))
    return Profile("long", tuple(spans), tuple(found))
