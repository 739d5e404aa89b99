# ruff: noqa: E501 (source of others, as they write it)
"""Snippets of PyTorch source, labelled: which rules of `dnnl` a reader would find in each.

Half of them are negatives: near misses, and code that looks alike but must stay. Each positive says
how it is built and called, so that its change can be tried.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

HEAD = "import math\n\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n\n"


@dataclass(frozen=True)
class Snippet:
    name: str
    rules: tuple[str, ...]
    source: str
    build: str = ""
    call: str = ""


SNIPPETS: list[Snippet] = []


def add(
    name: str, rules: str, text: str, build: str = "", call: str = "", head: str = HEAD
) -> None:
    source = head + textwrap.dedent(text).lstrip("\n")
    SNIPPETS.append(Snippet(name, tuple(rules.split()), source, build, call))


X = "torch.randn(2, 6, 16)"
IMAGE = "torch.randn(2, 4, 5, 6)"


def projections(init: str, forward: str, *, head: str = HEAD, base: str = "nn.Module",
                before: str = "", after: str = "") -> tuple[str, str]:  # fmt: skip
    """A class that projects to heads, the rest of attention being what is offered already."""
    text = before + (
        f"class Block({base}):\n    def __init__(self, d, heads=4):\n        super().__init__()\n"
        "        self.heads = heads\n" + textwrap.indent(textwrap.dedent(init).strip("\n"), " " * 8)
        + "\n        self.out = nn.Linear(d, d)\n\n    def split(self, t):\n"
        "        return t.view(t.size(0), t.size(1), self.heads, -1).transpose(1, 2)\n\n"
        "    def forward(self, x):\n"
        + textwrap.indent(textwrap.dedent(forward).strip("\n"), " " * 8)
        + "\n        y = F.scaled_dot_product_attention(self.split(q), self.split(k), self.split(v))\n"
        "        return self.out(y.transpose(1, 2).flatten(2))\n"
    ) + after  # fmt: skip
    return text, head


def qkv(name: str, rules: str, init: str, forward: str, **more: str) -> None:
    text, head = projections(init, forward, **more)
    add(name, rules, text, "Block(16)", X, head)


PLAIN = "self.q = nn.Linear(d, d)\nself.k = nn.Linear(d, d)\nself.v = nn.Linear(d, d)"
USE = "q = self.q(x)\nk = self.k(x)\nv = self.v(x)"

# Queries, keys and values.
qkv("qkv plain", "fused-qkv", PLAIN, USE)
qkv("qkv without bias", "fused-qkv", PLAIN.replace("(d, d)", "(d, d, bias=False)"), USE)
qkv("qkv by keywords", "fused-qkv", PLAIN.replace("(d, d)", "(in_features=d, out_features=d)"), USE)
qkv("qkv bias spelled two ways", "fused-qkv",
    "self.q = nn.Linear(d, d, True)\nself.k = nn.Linear(d, d)\nself.v = nn.Linear(d, d, bias=True)", USE)  # fmt: skip
qkv("qkv alias of the class", "fused-qkv", PLAIN.replace("nn.Linear", "Dense"), USE,
    head=HEAD.rstrip() + "\nfrom torch.nn import Linear as Dense\n\n\n")  # fmt: skip
qkv("qkv alias of the module", "fused-qkv", PLAIN.replace("nn.Linear", "layers.Linear"), USE,
    head=HEAD.rstrip() + "\nimport torch.nn as layers\n\n\n")  # fmt: skip
qkv("qkv alias by assignment", "fused-qkv", PLAIN.replace("nn.Linear", "Lin"), USE,
    before="Lin = nn.Linear\n\n\n")  # fmt: skip
qkv(
    "qkv alias in init", "fused-qkv", "make = nn.Linear\n" + PLAIN.replace("nn.Linear", "make"), USE
)
qkv("qkv long names", "fused-qkv",
    PLAIN.replace("self.q", "self.query").replace("self.k", "self.key").replace("self.v", "self.value"),
    "q, k, v = self.query(x), self.key(x), self.value(x)")  # fmt: skip
qkv("qkv proj names, used inside", "fused-qkv",
    PLAIN.replace("self.q", "self.q_proj").replace("self.k", "self.k_proj").replace("self.v", "self.v_proj"),
    "q = self.q_proj(x).contiguous()\nk = self.k_proj(x).contiguous()\nv = self.v_proj(x).contiguous()")  # fmt: skip
qkv("qkv in one line of init", "fused-qkv",
    "self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)", USE)  # fmt: skip
qkv("qkv by a generator", "fused-qkv",
    "self.q, self.k, self.v = (nn.Linear(d, d) for _ in range(3))", USE)  # fmt: skip
qkv("qkv other statements between", "fused-qkv", PLAIN.replace("\nself.v", "\nself.scale = 1\nself.v"),
    "b, t, _ = x.shape\nq = self.q(x)\nassert t > 0\nk = self.k(x)\nv = self.v(x)")  # fmt: skip
qkv("qkv annotated", "fused-qkv", PLAIN.replace(" = nn", ": nn.Linear = nn"), USE)
qkv("qkv grouped", "fused-qkv",
    "self.q = nn.Linear(d, d)\nself.k = nn.Linear(d, d // 1)\nself.v = nn.Linear(d, d // 1)", USE)  # fmt: skip
qkv(
    "qkv computed input",
    "fused-qkv",
    PLAIN,
    "h = F.gelu(x)\nq = self.q(h)\nk = self.k(h)\nv = self.v(h)",
)
qkv(
    "qkv input through an alias",
    "fused-qkv",
    PLAIN,
    "h = x\nq = self.q(x)\nk = self.k(h)\nv = self.v(x)",
)
qkv("qkv inherited init", "fused-qkv", "pass", USE, base="Base", before=(
    "class Base(nn.Module):\n    def __init__(self):\n        super().__init__()\n        d = 16\n"
    "        self.q = nn.Linear(d, d)\n        self.k = nn.Linear(d, d)\n"
    "        self.v = nn.Linear(d, d)\n\n\n"))  # fmt: skip
add("qkv inherited forward", "fused-qkv", """
    class Base(nn.Module):
        def forward(self, x):
            q = self.q(x)
            k = self.k(x)
            v = self.v(x)
            return F.scaled_dot_product_attention(q.unflatten(2, (4, -1)).transpose(1, 2),
                                                  k.unflatten(2, (4, -1)).transpose(1, 2),
                                                  v.unflatten(2, (4, -1)).transpose(1, 2))

    class Child(Base):
        def __init__(self, d):
            super().__init__()
            self.q = nn.Linear(d, d)
            self.k = nn.Linear(d, d)
            self.v = nn.Linear(d, d)
""", "Child(16)", X)  # fmt: skip
qkv("qkv in a method of its own", "fused-qkv", PLAIN, "q, k, v = self.project(x)",
    after="\n    def project(self, x):\n        q = self.q(x)\n        k = self.k(x)\n        v = self.v(x)\n"
    "        q = q.view(q.shape)\n        k = k.view(k.shape)\n        v = v.view(v.shape)\n"
    "        return q, k, v\n")  # fmt: skip

# Not these.
qkv("not qkv: cross attention", "", PLAIN,
    "memory = torch.relu(x)\nq = self.q(x)\nk = self.k(memory)\nv = self.v(memory)")  # fmt: skip
qkv(
    "not qkv: input changes in between",
    "",
    PLAIN,
    "q = self.q(x)\nx = x + 1\nk = self.k(x)\nv = self.v(x)",
)
qkv(
    "not qkv: input changes in place",
    "",
    PLAIN,
    "q = self.q(x)\nx += 1\nk = self.k(x)\nv = self.v(x)",
)
qkv(
    "not qkv: one has no bias",
    "",
    PLAIN.replace("k = nn.Linear(d, d)", "k = nn.Linear(d, d, bias=False)"),
    USE,
)
qkv("not qkv: bias by options", "",
    "a, b = True, heads > 1\nself.q = nn.Linear(d, d, bias=a)\nself.k = nn.Linear(d, d, bias=b)\n"
    "self.v = nn.Linear(d, d, bias=a)", USE)  # fmt: skip
qkv("not qkv: weights set by hand", "", PLAIN + "\nnn.init.zeros_(self.q.weight)", USE)
qkv("not qkv: tied", "", PLAIN + "\nself.k.weight = self.q.weight", USE)
qkv("not qkv: one layer twice", "", "self.q = nn.Linear(d, d)\nself.k = nn.Linear(d, d)",
    "q = self.q(x)\nk = self.k(x)\nv = self.k(x)")  # fmt: skip
qkv("not qkv: another method reads one", "", PLAIN, USE,
    after="\n    def norm_of_q(self):\n        return self.q.weight.norm()\n")  # fmt: skip
qkv("not qkv: another class reads one", "", PLAIN, USE,
    after="\n\nclass Outer(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.block = Block(16)\n        self.block.q.weight.requires_grad_(False)\n")  # fmt: skip
qkv("not qkv: named in a string", "", PLAIN, USE, after="\n\nTARGETS = ['q', 'v']\n")
qkv("not qkv: a child replaces one", "", PLAIN, USE,
    after="\n\nclass Child(Block):\n    def __init__(self):\n        super().__init__(16)\n"
    "        self.v = nn.Identity()\n")  # fmt: skip
qkv("not qkv: looked up by name", "", PLAIN, "q, k, v = (getattr(self, n)(x) for n in 'qkv')")
qkv("not qkv: names are computed", "", PLAIN, USE,
    after="\n    def part(self, name):\n        return getattr(self, name)\n")  # fmt: skip
qkv("not qkv: a layer in a branch", "",
    "self.q = nn.Linear(d, d)\nself.k = nn.Linear(d, d)\nif heads > 2:\n    self.v = nn.Linear(d, d)\n"
    "else:\n    self.v = nn.Identity()", USE)  # fmt: skip
qkv("not qkv: used in a branch", "", PLAIN,
    "q = self.q(x)\nk = self.k(x)\nif x.shape[0] > 1:\n    v = self.v(x)\nelse:\n    v = x")  # fmt: skip
qkv("not qkv: other layers", "", PLAIN.replace("nn.Linear", "Linear"), USE,
    before="class Linear(nn.Linear):\n    def forward(self, x):\n        return super().forward(x) * 2\n\n\n")  # fmt: skip
qkv("not qkv: a convolution", "",
    "self.q = nn.Conv1d(6, 6, 1)\nself.k = nn.Conv1d(6, 6, 1)\nself.v = nn.Conv1d(6, 6, 1)", USE)  # fmt: skip
qkv(
    "not qkv: gradient off for one",
    "",
    PLAIN,
    "q = self.q(x)\nk = self.k(x)\nwith torch.no_grad():\n    v = self.v(x)",
)
qkv("not qkv: one reads another's result", "", PLAIN, "q = self.q(x)\nk = self.k(q)\nv = self.v(k)")
qkv(
    "not qkv: fused already",
    "",
    "self.qkv = nn.Linear(d, 3 * d)",
    "q, k, v = self.qkv(x).chunk(3, dim=-1)",
)
add("not qkv: gates with activations", "", """
    class Gates(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.a = nn.Linear(d, d)
            self.b = nn.Linear(d, d)
            self.c = nn.Linear(d, d)

        def forward(self, x):
            return torch.sigmoid(self.a(x)) * torch.tanh(self.b(x)) + F.relu(self.c(x))
""")  # fmt: skip
add("not qkv: gate and up", "", """
    class Mlp(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.gate = nn.Linear(d, 2 * d)
            self.up = nn.Linear(d, 2 * d)
            self.down = nn.Linear(2 * d, d)

        def forward(self, x):
            return self.down(F.silu(self.gate(x)) * self.up(x))
""")  # fmt: skip


# Attention with a mask.
def attention(
    name: str, rules: str, body: str, *, init: str = "", mask: str = "", head: str = HEAD
) -> None:
    mask = mask or "self.register_buffer('mask', torch.tril(torch.ones(8, 8)))"
    text = (
        "class Attend(nn.Module):\n    def __init__(self, d=16):\n        super().__init__()\n"
        + textwrap.indent(textwrap.dedent(f"{mask}\n{init}").strip("\n"), " " * 8)
        + "\n\n    def forward(self, q, k, v):\n        t = q.shape[-2]\n"
        + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8) + "\n"
    )  # fmt: skip
    call = ", ".join(["torch.randn(2, 4, 6, 16)"] * 3)
    add(name, rules, text, "Attend()", call, head)


attention("attention lecture", "attention", """
    wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
    wei = wei.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
    wei = F.softmax(wei, dim=-1)
    return wei @ v
""")  # fmt: skip
attention("attention with dropout", "attention", """
    att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
    att = F.softmax(att, dim=-1)
    att = self.drop(att)
    return att @ v
""", init="self.drop = nn.Dropout(0.25)")  # fmt: skip
attention("attention in one expression", "attention", """
    return torch.matmul(torch.softmax((torch.matmul(q, k.transpose(2, 3)) / math.sqrt(16)).masked_fill(
        self.mask[:t, :t] == 0, -math.inf), -1), v)
""")  # fmt: skip
attention("attention scaled query", "attention", """
    q = q / math.sqrt(q.size(-1))
    scores = torch.matmul(q, k.mT)
    scores = scores.masked_fill(self.mask[:t, :t].logical_not(), float("-inf"))
    return scores.softmax(dim=-1).matmul(v)
""", mask="self.register_buffer('mask', torch.tril(torch.ones(8, 8)).bool())")  # fmt: skip
attention("attention hides where true", "attention", """
    hide = torch.triu(torch.ones(t, t, dtype=torch.bool), diagonal=1)
    scores = q @ k.transpose(-1, -2) * self.scale
    return scores.masked_fill(hide, -torch.inf).softmax(-1) @ v
""", init="self.scale = d ** -0.5")  # fmt: skip
attention("attention by a choice", "attention", """
    scores = (q @ k.transpose(-2, -1)) / 4.0
    scores = torch.where(self.mask[:t, :t] == 0, float("-inf"), scores)
    return torch.softmax(scores, dim=-1) @ v
""")  # fmt: skip
attention("attention of a softmax layer", "attention", """
    scores = (q @ k.transpose(-2, -1)) * 0.25
    scores = scores.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
    return self.softmax(scores) @ v
""", init="self.softmax = nn.Softmax(dim=-1)")  # fmt: skip
add("attention scores in a method", "attention", """
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.tril(torch.ones(8, 8)))

        def score(self, a, b):
            return a @ b.transpose(-2, -1) / math.sqrt(a.size(-1))

        def forward(self, q, k, v):
            t = q.size(2)
            scores = self.score(q, k).masked_fill(self.mask[:t, :t] == 0, float("-inf"))
            return F.softmax(scores, dim=-1) @ v
""", "Attend()", ", ".join(["torch.randn(2, 4, 6, 16)"] * 3))  # fmt: skip
attention("attention unscaled", "attention", """
    scores = q @ k.transpose(-2, -1)
    weights = torch.softmax(scores.masked_fill(self.mask[:t, :t] == 0, float("-inf")), dim=-1)
    return weights @ v
""")  # fmt: skip
attention("attention over axis of images", "attention", """
    scores = torch.matmul(q, k.permute(0, 1, 3, 2)) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(self.mask[None, None, :t, :t] == 0, float("-inf"))
    return torch.matmul(F.softmax(scores, dim=-1), v)
""")  # fmt: skip

attention("not attention: weights are returned", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    return att @ v, att
""")  # fmt: skip
attention("not attention: softmax over queries", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-2)
    return att @ v
""")  # fmt: skip
attention("not attention: a finite mask", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att = att.masked_fill(self.mask[:t, :t] == 0, -1e4).softmax(-1)
    return att @ v
""")  # fmt: skip
attention("not attention: mask after softmax", "", """
    att = ((q @ k.transpose(-2, -1)) * 0.25).softmax(-1)
    att = att.masked_fill(self.mask[:t, :t] == 0, 0.0)
    return att @ v
""")  # fmt: skip
attention("not attention: a learned scale", "", """
    att = (q @ k.transpose(-2, -1)) * self.scale
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    return att @ v
""", init="self.scale = nn.Parameter(torch.ones(4, 1, 1))")  # fmt: skip
attention("not attention: keys are not transposed", "", """
    att = (q @ k) * 0.25
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    return att @ v
""")  # fmt: skip
attention("not attention: no mask, which byoc knows", "", """
    att = (q @ k.transpose(-2, -1)) / math.sqrt(q.size(-1))
    return att.softmax(-1) @ v
""")  # fmt: skip
attention("not attention: bias before softmax", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25 + self.bias
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    return att @ v
""", init="self.bias = nn.Parameter(torch.zeros(6, 6))")  # fmt: skip
attention("not attention: softmax in another type", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
    att = F.softmax(att, dim=-1, dtype=torch.float32)
    return att @ v
""")  # fmt: skip
attention("not attention: weights are stored", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    self.last = att
    return att @ v
""")  # fmt: skip
attention("not attention: talking heads", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att = self.mix(att.transpose(1, 3)).transpose(1, 3)
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    return att @ v
""", init="self.mix = nn.Linear(4, 4)")  # fmt: skip
attention("not attention: mask of the call", "", """
    hide = v[..., :1].transpose(-2, -1) > 5
    att = ((q @ k.transpose(-2, -1)) * 0.25).masked_fill(hide, float("-inf")).softmax(-1)
    return att @ v
""")  # fmt: skip
attention("not attention: scores change in place", "", """
    att = (q @ k.transpose(-2, -1)) * 0.25
    att[..., 0] = 0
    att = att.masked_fill(self.mask[:t, :t] == 0, float("-inf")).softmax(-1)
    return att @ v
""")  # fmt: skip


# Loops.
def loop(name: str, rules: str, body: str, call: str = X, init: str = "") -> None:
    text = (
        "class Loop(nn.Module):\n    def __init__(self, d=16, heads=4):\n        super().__init__()\n"
        "        self.heads, self.size = heads, d // heads\n"
        + textwrap.indent(textwrap.dedent(init).strip("\n"), " " * 8)
        + "\n\n    def forward(self, x):\n"
        + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8) + "\n"
    )  # fmt: skip
    add(name, rules, text, "Loop()", call)


loop("heads by slices", "head-loop", """
    outs = []
    for h in range(self.heads):
        q = x[:, :, h * self.size:(h + 1) * self.size]
        k = x[:, :, h * self.size:(h + 1) * self.size]
        v = x[:, :, h * self.size:(h + 1) * self.size]
        att = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(self.size), dim=-1)
        outs.append(att @ v)
    return torch.cat(outs, dim=-1)
""")  # fmt: skip
loop("heads by one slice", "head-loop", """
    outs = []
    for h in range(self.heads):
        part = slice(h * self.size, (h + 1) * self.size)
        q, k, v = x[..., part], x[..., part], x[..., part]
        scores = (q @ k.transpose(-2, -1)) * self.size ** -0.5
        outs.append(scores.softmax(-1) @ v)
    return torch.cat(outs, -1)
""")  # fmt: skip
loop("heads by chunks", "head-loop", """
    outs = []
    for q, k, v in zip(x.chunk(4, dim=-1), x.chunk(4, dim=-1), x.chunk(4, dim=-1)):
        outs.append(torch.bmm(F.softmax(torch.bmm(q, k.transpose(1, 2)) / 2.0, dim=-1), v))
    return torch.cat(outs, dim=-1)
""")  # fmt: skip
loop("heads along an axis", "head-loop", """
    y = x.unflatten(-1, (self.heads, self.size)).transpose(1, 2)
    outs = [
        ((y[:, h] @ y[:, h].transpose(-2, -1)) * self.size ** -0.5).softmax(-1) @ y[:, h]
        for h in range(self.heads)
    ]
    return torch.stack(outs, dim=1)
""")  # fmt: skip
LAYER = "self.layer = nn.Linear(d, 8)"
loop("linear per position", "linear-loop",
     "return torch.stack([self.layer(x[:, i]) for i in range(x.size(1))], dim=1)", init=LAYER)  # fmt: skip
loop("linear per position, appended", "linear-loop", """
    steps = x.shape[1]
    outs = []
    for i in range(steps):
        y = self.layer(x[:, i, :])
        outs.append(y)
    return torch.stack(outs, dim=1)
""", init=LAYER)  # fmt: skip
loop("linear per position, kept axis", "linear-loop",
     "return torch.cat([self.layer(x[:, i:i + 1]) for i in range(6)], dim=1)", init=LAYER)  # fmt: skip
loop("list of layers", "linear-list", "return torch.cat([layer(x) for layer in self.layers], dim=-1)",
     init="self.layers = nn.ModuleList([nn.Linear(d, 4) for _ in range(heads)])")  # fmt: skip
loop("list of layers, appended", "linear-list", """
    outs = []
    for layer in self.layers:
        outs.append(layer(x))
    return torch.cat(outs, -1)
""", init="self.layers = nn.ModuleList(nn.Linear(d, 4, bias=False) for _ in range(heads))")  # fmt: skip

loop("not heads: state from turn to turn", "", """
    outs, last = [], 0
    for h in range(self.heads):
        q = x[:, :, h * self.size:(h + 1) * self.size] + last
        last = (q @ q.transpose(-2, -1) / 2).softmax(-1) @ q
        outs.append(last)
    return torch.cat(outs, dim=-1)
""")  # fmt: skip
loop("not heads: every head another scale", "", """
    outs = []
    for h in range(self.heads):
        q = x[:, :, h * self.size:(h + 1) * self.size]
        outs.append((q @ q.transpose(-2, -1) / (h + 1)).softmax(-1) @ q)
    return torch.cat(outs, dim=-1)
""")  # fmt: skip
loop("not heads: overlapping slices", "", """
    outs = []
    for h in range(self.heads):
        q = x[:, :, h:h + self.size]
        outs.append((q @ q.transpose(-2, -1) / 2).softmax(-1) @ q)
    return torch.cat(outs, dim=-1)
""")  # fmt: skip
loop("not heads: joined along time", "", """
    outs = []
    for h in range(self.heads):
        q = x[:, :, h * self.size:(h + 1) * self.size]
        outs.append((q @ q.transpose(-2, -1) / 2).softmax(-1) @ q)
    return torch.cat(outs, dim=1)
""")  # fmt: skip
loop("not heads: a turn is left out", "", """
    outs = []
    for h in range(self.heads):
        q = x[:, :, h * self.size:(h + 1) * self.size]
        if h == 2:
            continue
        outs.append((q @ q.transpose(-2, -1) / 2).softmax(-1) @ q)
    return torch.cat(outs, dim=-1)
""")  # fmt: skip
loop("not a loop of linears: a recurrence", "", """
    h, outs = torch.zeros(2, 8), []
    for i in range(6):
        h = torch.tanh(self.layer(x[:, i]) + h)
        outs.append(h)
    return torch.stack(outs, dim=1)
""", init=LAYER)  # fmt: skip
loop("not a loop of linears: another axis", "",
     "return torch.stack([self.layer(x[:, i]) for i in range(6)], dim=0)", init=LAYER)  # fmt: skip
loop("not a loop of linears: reversed", "",
     "return torch.stack([self.layer(x[:, i]) for i in reversed(range(6))], dim=1)", init=LAYER)  # fmt: skip
loop("not a loop of linears: some only", "",
     "return torch.stack([self.layer(x[:, i]) for i in range(6) if i % 2], dim=1)", init=LAYER)  # fmt: skip
loop("not a list of layers: one after the other", "", """
    for layer in self.layers:
        x = layer(x)
    return x
""", init="self.layers = nn.ModuleList([nn.Linear(d, d) for _ in range(heads)])")  # fmt: skip
loop("not a list of layers: a sum", "", "return sum(layer(x) for layer in self.layers)",
     init="self.layers = nn.ModuleList([nn.Linear(d, 4) for _ in range(heads)])")  # fmt: skip
loop("not a list of layers: each of another size", "",
     "return torch.cat([layer(x) for layer in self.layers], dim=-1)",
     init="self.layers = nn.ModuleList([nn.Linear(d, 4 * (i + 1)) for i in range(heads)])")  # fmt: skip
loop("not a list of layers: used elsewhere", "",
     "return torch.cat([layer(x) for layer in self.layers], dim=-1) + self.layers[0].bias.sum()",
     init="self.layers = nn.ModuleList([nn.Linear(d, 4) for _ in range(heads)])")  # fmt: skip


# Products, norms, activations.
def function(name: str, rules: str, body: str, call: str = X, init: str = "") -> None:
    text = (
        "class Model(nn.Module):\n    def __init__(self, d=16):\n        super().__init__()\n"
        "        self.eps = 1e-5\n" + textwrap.indent(textwrap.dedent(init).strip("\n"), " " * 8)
        + f"\n\n    def forward(self, {'a, b' if call.count('(') > 1 else 'x'}):\n"
        + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8) + "\n"
    )  # fmt: skip
    add(name, rules, text, "Model()", call)


function("pointwise", "pointwise-conv", "return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)",
         IMAGE, "self.layer = nn.Linear(4, 8)")  # fmt: skip
function("pointwise in steps", "pointwise-conv", """
    y = x.permute(0, 2, 3, 1)
    y = self.layer(y)
    y = y.permute((0, 3, 1, 2)).contiguous()
    return F.relu(y)
""", IMAGE, "self.layer = nn.Linear(4, 8, bias=False)")  # fmt: skip
function("not pointwise: a norm in between", "",
         "return self.layer(F.layer_norm(x.permute(0, 2, 3, 1), (4,))).permute(0, 3, 1, 2)",
         IMAGE, "self.layer = nn.Linear(4, 8)")  # fmt: skip
function("not pointwise: other axes", "", "return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 2, 1)",
         IMAGE, "self.layer = nn.Linear(4, 8)")  # fmt: skip
function("not pointwise: weight shared", "",
         "y = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)\nreturn y + self.layer.weight.sum()",
         IMAGE, "self.layer = nn.Linear(4, 8)")  # fmt: skip
TWO = "torch.randn(2, 5, 8), torch.randn(2, 6, 8)"
function(
    "product by broadcasting", "matmul", "return (a.unsqueeze(2) * b.unsqueeze(1)).sum(-1)", TWO
)
function(
    "product by new axes", "matmul", "return torch.sum(b[:, None] * a[:, :, None], dim=-1)", TWO
)
function("linear by broadcasting", "matmul", "return (x.unsqueeze(-2) * self.layer.weight).sum(-1)",
         init="self.layer = nn.Linear(d, 8, bias=False)")  # fmt: skip
function("not a product: other axis", "", "return (a.unsqueeze(2) * b.unsqueeze(1)).sum(-2)", TWO)
function(
    "not a product: a distance", "", "return (a.unsqueeze(2) - b.unsqueeze(1)).abs().sum(-1)", TWO
)
function("not a product: a mean", "", "return (a.unsqueeze(2) * b.unsqueeze(1)).mean(-1)", TWO)
function("layer norm by difference", "layer-norm", """
    mean = x.mean(-1, keepdim=True)
    var = (x * x).mean(-1, keepdim=True) - mean * mean
    return (x - mean) / torch.sqrt(var + 1e-5)
""")  # fmt: skip
function("layer norm by difference, rsqrt", "layer-norm", """
    mu = torch.mean(x, dim=-1, keepdim=True)
    var = torch.mean(x ** 2, dim=-1, keepdim=True) - mu ** 2
    return (x - mu) * torch.rsqrt(var + self.eps)
""")  # fmt: skip
function("layer norm over channels", "layer-norm", """
    u = x.mean(1, keepdim=True)
    s = (x - u).pow(2).mean(1, keepdim=True)
    x = (x - u) / torch.sqrt(s + self.eps)
    return self.weight[:, None, None] * x + self.bias[:, None, None]
""", IMAGE, "self.weight = nn.Parameter(torch.ones(4))\nself.bias = nn.Parameter(torch.zeros(4))")  # fmt: skip
function("not a norm: std with eps outside", "", """
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / (x.std(-1, keepdim=True, unbiased=False) + 1e-5)
""")  # fmt: skip
function("not a norm: unbiased", "", """
    u = x.mean(1, keepdim=True)
    y = (x - u) / torch.sqrt(x.var(1, keepdim=True) + self.eps)
    return self.weight[:, None, None] * y + self.bias[:, None, None]
""", IMAGE, "self.weight = nn.Parameter(torch.ones(4))\nself.bias = nn.Parameter(torch.zeros(4))")  # fmt: skip
function("not a norm: byoc knows this one", "", """
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5)
""")  # fmt: skip
function(
    "not a norm: byoc knows RMS",
    "",
    "return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)",
)
DENSE = "self.layer = nn.Linear(d, 8)"
function("relu by a choice", "relu", "y = self.layer(x)\nreturn torch.where(y > 0, y, torch.zeros_like(y))",
         init=DENSE)  # fmt: skip
function("relu by a product", "relu", "y = self.layer(x)\nreturn y * (y > 0).float()", init=DENSE)
function(
    "relu by masked_fill",
    "relu",
    "y = self.layer(x)\ny = y.masked_fill(y < 0, 0)\nreturn y",
    init=DENSE,
)
function(
    "relu by absolute value",
    "relu",
    "y = self.layer(x)\nreturn (y + torch.abs(y)) * 0.5",
    init=DENSE,
)
function("gelu by erfc", "gelu", "return 0.5 * x * torch.erfc(-x / math.sqrt(2.0))")
function("gelu by a distribution", "gelu", "return x * torch.distributions.Normal(0.0, 1.0).cdf(x)")
function("log of softmax", "log-softmax", "return torch.log(F.softmax(x, dim=-1))")
function("log of softmax, by methods", "log-softmax", "p = x.softmax(dim=1)\nreturn p.log()")
function("not relu: another value", "", "return torch.where(x > 0, x, torch.ones_like(x))")
function("not relu: a threshold", "", "return torch.where(x > 1, x, torch.zeros_like(x))")
function(
    "not relu: of another tensor",
    "",
    "y = x + 1\nreturn torch.where(x > 0, y, torch.zeros_like(y))",
)
function("not relu: the positive part of the mask", "", "return x * (x < 0).float()")
function("not gelu: the quick one", "", "return x * torch.sigmoid(1.702 * x)")
function(
    "not gelu: byoc knows this one", "", "return 0.5 * x * (1 + torch.erf(x / math.sqrt(2.0)))"
)
function("not silu: byoc knows this one", "", "return x * torch.sigmoid(x)")
function(
    "not log softmax: softmax is used, too",
    "",
    "p = F.softmax(x, dim=-1)\nreturn (p * torch.log(p)).sum(-1)",
)
function("not log softmax: something added", "", "return torch.log(F.softmax(x, dim=-1) + 1e-9)")
