"""Segment → JSON: the steps of its foreign ops, and which values they read and make."""

from __future__ import annotations

import json
from collections import Counter

from byoc.segment import Artifact, Segment

__all__ = ["compile_segment"]


def compile_segment(segment: Segment) -> Artifact:
    """Return the segment as an artifact that `runtime.init` reads.

    Args:
        segment: Foreign ops of torch (`byoc.kit.torch_steps`).
    """
    held = [v for v in segment.constants if v not in segment.inputs]
    blob = {
        "inputs": list(segment.inputs),
        "constants": held,
        "outputs": list(segment.outputs),
        "ops": [
            {
                "title": f"{node.attrs['node']!r} ({node.attrs['op']})",
                "inputs": list(node.inputs),
                "outputs": list(node.outputs),
                "steps": json.loads(str(node.attrs["steps"])),
            }
            for node in segment.nodes
        ],
    }
    count = Counter(str(node.attrs["op"]) for node in segment.nodes)
    return Artifact(
        segment.name,
        segment.vendor,
        json.dumps(blob).encode(),
        tuple(segment.constants[v] for v in held),
        notes=tuple(
            f"{op} {'run' if ', ' in op else 'runs'} in torch, {n} time{'s' * (n != 1)}"
            for op, n in count.items()
        ),
    )
