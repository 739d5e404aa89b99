"""Reports made by hand."""

import random

from byoc.partition import (
    BorderRecord,
    Counterfactual,
    OpRecord,
    PartitionReport,
    PlanRecord,
    Refusal,
    SegmentRecord,
    SplitRecord,
    Verdict,
)

NASTY = "</script><script>alert(1)</script> & \u2028 <!-- é"


def op(index, place="host", flops=10, **kwargs):
    segment = f"{place}_0" if place != "host" else None
    fields = {
        "op": "nn.relu", "name": f"n{index}", "segment": segment,
        "pattern": "p" if segment else None,
        "refusals": () if segment else (Refusal("v", "p", "weight is not constant"),),
    } | kwargs  # fmt: skip
    return OpRecord(
        index=index, function="main", place=place, flops=flops, bytes=8, type="float32[2]", **fields
    )


def segment(name="v_0", **kwargs):
    fields = {"flops": 20, "weight_bytes": 2048, "input_bytes": 8, "output_bytes": None} | kwargs
    fields = {"vendor": "v", "ops": 2, "composites": 1} | fields
    return SegmentRecord(name=name, function="main", inputs=1, outputs=1, **fields)


def full_report():
    """n0 → n1 in v_0, e → f on the host, last in v_1; with every kind of record."""
    uncovered = (Refusal("v", "", "no pattern of v covers exp"),)
    taken = (
        Verdict("v", "taken", "p", "", 1e-6),
        Verdict("w", "offered", "q", "v gains 2 µs", 3e-6),
    )
    path = (
        ("nn.relu", "n1", "v_0"), ("exp", "e", "host"), ("tanh", "f", "host"),
        ("nn.relu", "last", "v_1"),
    )  # fmt: skip
    return PartitionReport(
        vendors=("v", "w"),
        ops=(
            op(0, "v", verdicts=taken, cost=1e-6),
            op(1, "v", inputs=(0,)),
            op(2, op="exp", name="e", inputs=(1,), refusals=uncovered, cost=5e-6),
            op(3, op="tanh", name="f", inputs=(2,)),
            op(4, "v", name="last", segment="v_1", inputs=(3, 0)),
        ),
        segments=(
            segment(predicted=2e-6, measured=3e-6, on_host=9e-6),
            segment("v_1", ops=1, predicted=1e-6),
        ),
        placement="model",
        borders=(
            BorderRecord("main", "v_0", "host", 1, 4096, 2e-6, 3e-6),
            BorderRecord("main", "host", "v_1", 1, None),
        ),
        plans=(PlanRecord("model", 1e-3, 1.1e-3, 0.02, 2, True), PlanRecord("host", 2e-3)),
        splits=(SplitRecord("v_0", "v_1", path, "v_0 and v_1 cannot be one segment: …"),),
        counterfactuals=(
            Counterfactual("v", "exp", 1, 2, 1, 1.8e-3, "if exp were supported by v: …", 4096, 0),
        ),
        advice=("min_segment_flops=2e6 would remove 14 segments that lose 0.3 ms",),
        warnings=("coverage is low",),
    )


def long_report(count, vendors=("v", "w", "u"), seed=0):
    """A residual net of `count` ops: segments of 8 to 60 ops, a few host ops between; every op
    with a verdict and a cost of its own, so that nothing packs well.
    """
    rng = random.Random(seed)
    ops, segments, borders, made = [], [], [], dict.fromkeys(vendors, 0)
    place = ""
    while len(ops) < count:
        host = place != "host" and rng.random() < 0.6
        place = "host" if host else rng.choice(vendors)
        many = min(count - len(ops), rng.randint(1, 4) if host else rng.randint(8, 60))
        name = None if host else f"{place}_{made[place]}"
        first = len(ops)
        for k in range(first, first + many):
            inputs = [k - 1] if k else []
            if k - first > 4 and rng.random() < 0.25:
                inputs.append(rng.randint(first, k - 2))
            kind = rng.choice(("exp", "nn.resize2d")) if host else rng.choice(("nn.conv2d", "add"))
            ops.append(
                op(
                    k, place, rng.randint(10**4, 10**8), op=kind, segment=name,
                    name=f"model/layer.{k // 50}/block.{k % 50}/{kind}_{k}",
                    inputs=tuple(inputs), cost=rng.random() * 1e-4,
                    verdicts=tuple(_verdict(rng, v, place, kind) for v in vendors),
                )
            )  # fmt: skip
        if name:
            made[place] += 1
            segments.append(segment(name, vendor=place, ops=many, predicted=rng.random() * 1e-3))
            borders.append(BorderRecord("main", name, "host", 1, 802816, 1e-5))
    return PartitionReport(vendors, tuple(ops), tuple(segments), "model", tuple(borders))


def _verdict(rng, vendor, place, kind):
    if vendor == place:
        return Verdict(vendor, "taken", "block", "", rng.random() * 1e-4)
    if place != "host" and rng.random() < 0.5:
        reason = f"{place} gains {rng.random() * 9:.3g} us: 1 us against {rng.random() * 9:.3g} us"
        return Verdict(vendor, "offered", "block", reason, rng.random() * 1e-4)
    return Verdict(vendor, "refused", "", f"no pattern of {vendor} covers {kind}")
