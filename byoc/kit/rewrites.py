"""Rewrites of PyTorch source that vendors of matrix products gain from, as `Vendor.rewrites`.

None is here for what byoc's normal form does by itself (attention without a mask, GELU, SiLU,
LayerNorm and RMSNorm spelled out, einsum that is a matrix product, …): those need no change of
source. ``tests/adopt`` partitions its corpus before and after.
"""

from __future__ import annotations

from collections.abc import Sequence

from byoc.vendor import Rewrite

__all__ = ["dense_rewrites"]

_VIEWS = ("reshape", "transpose", "mT", "permute", "index", "chunk", "split", "matmul", "mul",
          "div", "method", "construct", "einsum", "attr")  # fmt: skip
"""What reads queries, keys and values: layouts, products, scores. No activation."""


def dense_rewrites() -> Sequence[Rewrite]:
    """Return the rewrites, in the order in which they are tried."""
    return (
        *_head_loops(),
        *_attention(),
        *_projections(),
        *_loops(),
        *_products(),
        *_norms(),
        *_activations(),
    )


def _projections() -> list[Rewrite]:
    why = "three matrix products with one input are three calls, each too small to fill the cores"
    equal = Rewrite(
        "fused-qkv",
        why,
        before="""
            class Before(nn.Module):
                def __init__(self, n, m, bias):
                    self.q = nn.Linear(n, m, bias=bias)
                    self.k = nn.Linear(n, m, bias=bias)
                    self.v = nn.Linear(n, m, bias=bias)

                def forward(self, x):
                    q = self.q(x)
                    k = self.k(x)
                    v = self.v(x)
                    return q, k, v
        """,
        after="""
            class After(nn.Module):
                def __init__(self, n, m, bias):
                    self.qkv = nn.Linear(n, 3 * m, bias=bias)

                def forward(self, x):
                    return self.qkv(x).chunk(3, dim=-1)
        """,
        parameters={
            "qkv.weight": "concat(q.weight, k.weight, v.weight)",
            "qkv.bias": "concat(q.bias, k.bias, v.bias)",
        },
        feeds=_VIEWS,
    )
    grouped = Rewrite(
        "fused-qkv",
        why,
        before="""
            class Before(nn.Module):
                def __init__(self, n, m, g, bias):
                    self.q = nn.Linear(n, m, bias=bias)
                    self.k = nn.Linear(n, g, bias=bias)
                    self.v = nn.Linear(n, g, bias=bias)

                def forward(self, x):
                    q = self.q(x)
                    k = self.k(x)
                    v = self.v(x)
                    return q, k, v
        """,
        after="""
            class After(nn.Module):
                def __init__(self, n, m, g, bias):
                    self.qkv_sizes = (m, g, g)
                    self.qkv = nn.Linear(n, sum(self.qkv_sizes), bias=bias)

                def forward(self, x):
                    return self.qkv(x).split(self.qkv_sizes, dim=-1)
        """,
        parameters=equal.parameters,
        feeds=_VIEWS,
    )
    return [equal, grouped]


_SCORES = {
    "(q @ k.transpose(-2, -1)) * scale": "scale",
    "(q @ k.transpose(-2, -1)) / scale": "1.0 / scale",
    "(q * scale) @ k.transpose(-2, -1)": "scale",
    "(q / scale) @ k.transpose(-2, -1)": "1.0 / scale",
    "q @ (k.transpose(-2, -1) * scale)": "scale",
    "q @ k.transpose(-2, -1)": "1.0",
}
_HIDDEN = {
    "mask == 0": "mask != 0", "~(mask != 0)": "mask != 0", "~(mask == 1)": "mask == 1",
    "~mask.bool()": "mask.bool()", "mask.bool()": "~mask.bool()", "mask == 1": "mask != 1",
    "~mask": "mask", "mask": "~mask",
}  # fmt: skip


def _attention() -> list[Rewrite]:
    """A mask of the module's own that hides by -inf; the normal form leaves that choice alone."""
    found = []
    for hidden, shown in _HIDDEN.items():
        for scores, scale in _SCORES.items():
            for fill in (
                f"scores.masked_fill({hidden}, float('-inf'))",
                f"torch.where({hidden}, float('-inf'), scores)",
                f"torch.where({shown}, scores, float('-inf'))",
            ):
                for dropped in (False, True):
                    weights = f"torch.softmax({fill}, dim=-1)"
                    more = ""
                    if dropped:
                        weights = f"F.dropout({weights}, p, training)"
                        more = ", dropout_p=p if training else 0.0"
                    found.append(
                        Rewrite(
                            "attention",
                            "the mask hides scores by a choice that keeps products, softmax and "
                            "choice apart; scaled_dot_product_attention is one kernel",
                            before=f"""
                                def before(q, k, v, mask: "constant", scale: "number", p, training):
                                    scores = {scores}
                                    return {weights} @ v
                            """,
                            after=f"""
                                def after(q, k, v, mask, scale, p, training):
                                    return F.scaled_dot_product_attention(
                                        q, k, v, attn_mask={shown}{more}, scale={scale})
                            """,
                            note="a row that the mask hides whole is 0, not NaN",
                        )
                    )
    return found


def _head_loops() -> list[Rewrite]:
    """Attention, one head after the other: slices, chunks, or an axis of heads."""
    one_by_one = "every turn of the loop is a few small kernels; all heads at once are one"
    slices = ("{t}[:, :, {s}]", "{t}[..., {s}]")
    ends = ("h * d:(h + 1) * d", "h * d:h * d + d")
    found = []
    for scores, scale in _SCORES.items():
        each = f"torch.softmax({scores}, dim=-1) @ v"
        for place in slices:
            for end in ends:
                q, k, v = (place.format(t=t, s=end) for t in ("q_all", "k_all", "v_all"))
                loop = f"""
                    def before(q_all, k_all, v_all, n, d, scale: "number"):
                        out = []
                        for h in range(n):
                            q, k, v = {q}, {k}, {v}
                            out.append({each})
                        return torch.cat(out, dim=-1)
                """
                heads = (
                    f"{t}_all[:, :, :n * d].unflatten(-1, (n, d)).transpose(1, 2)" for t in "qkv"
                )
                whole = f"""
                    def after(q_all, k_all, v_all, n, d, scale):
                        return F.scaled_dot_product_attention(
                            {", ".join(heads)}, scale={scale}).transpose(1, 2).flatten(2)
                """
                found.append(Rewrite("head-loop", one_by_one, loop, whole))
        chunks = f"""
            def before(q_all, k_all, v_all, n, scale: "number"):
                out = []
                for q, k, v in zip(
                    q_all.chunk(n, dim=-1), k_all.chunk(n, dim=-1), v_all.chunk(n, dim=-1)
                ):
                    out.append({each})
                return torch.cat(out, dim=-1)
        """
        heads = (f"{t}_all.unflatten(-1, (n, -1)).transpose(1, 2)" for t in "qkv")
        whole = f"""
            def after(q_all, k_all, v_all, n, scale):
                return F.scaled_dot_product_attention(
                    {", ".join(heads)}, scale={scale}).transpose(1, 2).flatten(2)
        """
        found.append(Rewrite("head-loop", one_by_one, chunks, whole))
        axis = f"""
            def before(q_all, k_all, v_all, n, scale: "number"):
                out = []
                for h in range(n):
                    q, k, v = q_all[:, h], k_all[:, h], v_all[:, h]
                    out.append({each})
                return torch.stack(out, dim=1)
        """
        whole = f"""
            def after(q_all, k_all, v_all, n, scale):
                return F.scaled_dot_product_attention(
                    q_all[:, :n], k_all[:, :n], v_all[:, :n], scale={scale})
        """
        found.append(Rewrite("head-loop", one_by_one, axis, whole))
    return found


def _loops() -> list[Rewrite]:
    alone = "every turn of the loop is a product of its own; one takes all positions"
    found = [
        Rewrite(
            "linear-loop",
            alone,
            before=f"""
                class Before(nn.Module):
                    def __init__(self, n, m, bias):
                        self.l = nn.Linear(n, m, bias=bias)

                    def forward(self, x, count):
                        return {turns}
            """,
            after="""
                class After(nn.Module):
                    def __init__(self, n, m, bias):
                        self.l = nn.Linear(n, m, bias=bias)

                    def forward(self, x, count):
                        return self.l(x[:, :count])
            """,
        )
        for turns in (
            "torch.stack([self.l(x[:, i]) for i in range(count)], dim=1)",
            "torch.stack([self.l(x[:, i, :]) for i in range(count)], dim=1)",
            "torch.cat([self.l(x[:, i:i + 1]) for i in range(count)], dim=1)",
        )
    ]
    return [
        *found,
        Rewrite(
            "linear-list",
            "every layer of the list is a product of its own with the same input; one takes all",
            before="""
                class Before(nn.Module):
                    def __init__(self, n, m, count, bias):
                        self.ls = nn.ModuleList([nn.Linear(n, m, bias=bias) for _ in range(count)])

                    def forward(self, x):
                        return torch.cat([l(x) for l in self.ls], dim=-1)
            """,
            after="""
                class After(nn.Module):
                    def __init__(self, n, m, count, bias):
                        self.ls = nn.Linear(n, count * m, bias=bias)

                    def forward(self, x):
                        return self.ls(x)
            """,
            parameters={"ls.weight": "concat(ls.*.weight)", "ls.bias": "concat(ls.*.bias)"},
        ),
    ]


def _products() -> list[Rewrite]:
    pointwise = "two transposes around a product over channels move the image twice"
    broadcast = "multiplying by broadcasting writes every single product to memory before the sum"
    found = [
        Rewrite(
            "pointwise-conv",
            pointwise,
            before="""
                class Before(nn.Module):
                    def __init__(self, n, m, bias):
                        self.l = nn.Linear(n, m, bias=bias)

                    def forward(self, x):
                        return self.l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            """,
            after="""
                class After(nn.Module):
                    def __init__(self, n, m, bias):
                        self.l = nn.Conv2d(n, m, 1, bias=bias)

                    def forward(self, x):
                        return self.l(x)
            """,
            parameters={
                "l.weight": "unsqueeze(unsqueeze(l.weight, -1), -1)",
                "l.bias": "concat(l.bias)",
            },
        ),
        Rewrite(
            "matmul",
            broadcast,
            before="""
                class Before(nn.Module):
                    def __init__(self, n, m, bias):
                        self.l = nn.Linear(n, m, bias=bias)

                    def forward(self, x):
                        return (x.unsqueeze(-2) * self.l.weight).sum(-1)
            """,
            after="""
                class After(nn.Module):
                    def __init__(self, n, m, bias):
                        self.l = nn.Linear(n, m, bias=bias)

                    def forward(self, x):
                        return F.linear(x, self.l.weight)
            """,
        ),
    ]
    for first, second, axes in (
        (2, 1, "1, 2"), (-2, 1, "1, 2"), (2, -3, "1, 2"), (-2, -3, "-2, -1"), (3, 2, "2, 3"),
    ):  # fmt: skip
        found.append(
            Rewrite(
                "matmul",
                broadcast,
                before=f"""
                    def before(a, b):
                        return (a.unsqueeze({first}) * b.unsqueeze({second})).sum(-1)
                """,
                after=f"""
                    def after(a, b):
                        return a @ b.transpose({axes})
                """,
            )
        )
    return found


def _norms() -> list[Rewrite]:
    """Spellings that the normal form does not take for a norm."""
    forms = ("(x - mean) / torch.sqrt({v} + eps)", "(x - mean) * torch.rsqrt({v} + eps)")
    difference = (
        "(x * x).mean(-1, keepdim=True) - mean * mean",
        "x.pow(2).mean(-1, keepdim=True) - mean.pow(2)",
    )
    channels = ("(x - mean).pow(2).mean(1, keepdim=True)", "x.var(1, keepdim=True, unbiased=False)")
    shapes = ("{w}[:, None, None]", "{w}.view(1, -1, 1, 1)", "{w}[None, :, None, None]")
    found = [
        Rewrite(
            "layer-norm",
            "the variance as a difference of means is ten ops; layer_norm is one kernel",
            before=f"""
                def before(x, eps: "number"):
                    mean = x.mean(-1, keepdim=True)
                    return {form.format(v=variance)}
            """,
            after="""
                def after(x, eps):
                    return F.layer_norm(x, x.shape[-1:], eps=eps)
            """,
            note="the difference of means loses digits where the mean is large",
        )
        for variance in difference
        for form in forms
    ]
    for variance in channels:
        for form in forms:
            for shape in shapes:
                weight, bias = shape.format(w="w"), shape.format(w="b")
                found.append(
                    Rewrite(
                        "layer-norm",
                        "a norm over channels, spelled out, is nine ops; layer_norm is one kernel",
                        before=f"""
                            def before(x, w, b, eps: "number"):
                                mean = x.mean(1, keepdim=True)
                                return {weight} * ({form.format(v=variance)}) + {bias}
                        """,
                        after="""
                            def after(x, w, b, eps):
                                return F.layer_norm(
                                    x.permute(0, 2, 3, 1), w.shape, w, b, eps).permute(0, 3, 1, 2)
                        """,
                    )
                )
    return found


def _activations() -> list[Rewrite]:
    relu = "a comparison and a choice are kernels of their own; relu goes into the layer before"
    pairs = [
        ("relu", relu, "torch.where(x > 0, x, 0)", "F.relu(x)", "NaN stays NaN"),
        ("relu", relu, "torch.where(x > 0, x, 0.0)", "F.relu(x)", "NaN stays NaN"),
        ("relu", relu, "torch.where(x > 0, x, torch.zeros_like(x))", "F.relu(x)", "NaN stays NaN"),
        ("relu", relu, "torch.where(x < 0, torch.zeros_like(x), x)", "F.relu(x)", ""),
        ("relu", relu, "torch.where(x < 0, 0, x)", "F.relu(x)", ""),
        ("relu", relu, "torch.where(x < 0, 0.0, x)", "F.relu(x)", ""),
        ("relu", relu, "x.masked_fill(x < 0, 0)", "F.relu(x)", ""),
        ("relu", relu, "x.masked_fill(x < 0, 0.0)", "F.relu(x)", ""),
        ("relu", relu, "x.masked_fill(x <= 0, 0)", "F.relu(x)", ""),
        ("relu", relu, "x.masked_fill(x <= 0, 0.0)", "F.relu(x)", ""),
        ("relu", relu, "x * (x > 0)", "F.relu(x)", "-inf becomes 0, not NaN"),
        ("relu", relu, "x * (x > 0).float()", "F.relu(x)", "-inf becomes 0, not NaN"),
        ("relu", relu, "x * (x > 0).to(x.dtype)", "F.relu(x)", "-inf becomes 0, not NaN"),
        ("relu", relu, "x * (x > 0).type_as(x)", "F.relu(x)", "-inf becomes 0, not NaN"),
        ("relu", relu, "(x + x.abs()) / 2", "F.relu(x)", "the gradient at 0 is 0, not ½"),
        ("relu", relu, "0.5 * (x + x.abs())", "F.relu(x)", "the gradient at 0 is 0, not ½"),
    ]
    gelu = "{} has no kernel and breaks the segment; gelu is one"
    for erfc in ("torch.erfc(-x / {r})", "torch.erfc(-(x / {r}))", "torch.erfc(-x * {i})",
                 "torch.erfc(x * {m})"):  # fmt: skip
        value = erfc.format(r=2**0.5, i=0.5**0.5, m=-(0.5**0.5))
        pairs.append(("gelu", gelu.format("erfc"), f"0.5 * x * {value}", "F.gelu(x)", ""))
    for normal in ("Normal(0, 1)", "Normal(0.0, 1.0)", "Normal(loc=0, scale=1)"):
        cdf = f"torch.distributions.{normal}.cdf(x)"
        why = "a distribution checks its arguments by their values, which torch.export refuses"
        pairs.append(("gelu", why, f"x * {cdf}", "F.gelu(x)", ""))
    log = "the logarithm of a softmax is two kernels, and -inf where a probability is 0"
    pairs.append(("log-softmax", log, "torch.log(torch.softmax(x, d))", "F.log_softmax(x, d)",
                  "finite where the probability rounds to 0"))  # fmt: skip
    return [
        Rewrite(
            name,
            why,
            before=f"""
                def before(x, d):
                    return {before}
            """,
            after=f"""
                def after(x, d):
                    return {after}
            """,
            note=note,
        )
        for name, why, before, after, note in pairs
    ]
