"""A textual rewriter, as one writes it in an afternoon: what the corpus is compared with."""

from __future__ import annotations

import re

RULES = {
    "fused-qkv": r"self\.q\w* = nn\.Linear\(.*\n.*self\.k\w* = .*\n.*self\.v\w* = nn\.Linear\(",
    "attention": r"masked_fill\(.*(?:float\(.-inf.\)|-math\.inf)",
    "head-loop": r"for \w+ in range\((?:self\.)?\w*heads\w*\):",
    "linear-loop": r"torch\.stack\(\[self\.\w+\(x\[:, i\]\) for i in range",
    "linear-list": r"torch\.cat\(\[layer\(x\) for layer in self\.\w+\]",
    "pointwise-conv": r"self\.\w+\(x\.permute\(0, 2, 3, 1\)\)\.permute\(0, 3, 1, 2\)",
    "matmul": r"unsqueeze\(.*\) \* .*unsqueeze\(.*\)\)\.sum\(-1\)",
    "layer-norm": r"mean\(-?1, keepdim=True\)[\s\S]*sqrt\(",
    "relu": r"torch\.where\(\w+ > 0, ",
    "gelu": r"torch\.erfc\(",
    "log-softmax": r"torch\.log\((?:F|torch)\.softmax\(",
}  # fmt: skip


def find(source: str) -> tuple[str, ...]:
    """The rules whose text occurs."""
    return tuple(rule for rule, text in RULES.items() if re.search(text, source))
