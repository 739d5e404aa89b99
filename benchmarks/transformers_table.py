"""Transformers' networks through every way PyTorch has into byoc, and the table of it.

    python -m benchmarks.transformers_table --json               all, one process each
    python -m benchmarks.transformers_table --networks bert,gpt2 --routes export
    python -m benchmarks.transformers_table --write-docs         docs/transformers.md

Networks are made from their configurations with seeded weights: real architectures at real width,
fewer layers where the time of a CPU asks for it. Routes:

    onnx           torch.onnx.export(dynamo=True), the file through byoc.compile
    onnx-legacy    torch.onnx.export(dynamo=False), the same
    export         torch.export.export through byoc.compile
    compile        torch.compile(backend="byoc")

Every route is compared with torch on two inputs of other seeds, the ONNX files with ONNX Runtime,
too; a result is right when the largest difference is below 1e-3 of the largest value. Coverage is
the share of FLOPs that `dnnl` takes. Results are kept in benchmarks/results/transformers.json by
network and route.

Graphs and graph breaks are counted under byoc and under inductor. Inductor runs up to where it
would write C++ (Dynamo, AOT Autograd, decompositions, its passes over graphs): no break comes
later.
BYOC_TABLE_AGAINST=inductor has it write and compile the C++, too, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "transformers.json"
PAGE = Path(__file__).parent.parent / "docs" / "transformers.md"
ROUTES = ("onnx", "onnx-legacy", "export", "compile")
TOLERANCE = 1e-3
TIMEOUT = 900

Result = dict[str, Any]
Made = tuple[Any, Callable[[Any], dict[str, Any]], tuple[str, ...]]


# -- networks: module, inputs from a torch generator, names of the outputs looked at


def _image(size: int) -> Callable[[Any], dict[str, Any]]:
    import torch

    return lambda g: {"pixel_values": torch.randn(1, 3, size, size, generator=g)}


def _tokens(length: int, vocabulary: int) -> Callable[[Any], dict[str, Any]]:
    import torch

    def make(g: Any) -> dict[str, Any]:
        ids = torch.randint(0, vocabulary, (1, length), generator=g)
        mask = torch.ones(1, length, dtype=torch.int64)
        mask[:, length - int(torch.randint(1, length // 2, (1,), generator=g)) :] = 0
        return {"input_ids": ids, "attention_mask": mask}

    return make


def resnet() -> Made:
    """ResNet-50, 224 x 224."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig()), _image(224), ("logits",)


def mobilenet_v2() -> Made:
    """MobileNetV2 1.0, 224 x 224."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return MobileNetV2ForImageClassification(MobileNetV2Config()), _image(224), ("logits",)


def convnext() -> Made:
    """ConvNeXt-Tiny, 224 x 224."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return ConvNextForImageClassification(ConvNextConfig()), _image(224), ("logits",)


def vit() -> Made:
    """ViT-Base/16, 224 x 224, 4 of 12 layers."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(num_hidden_layers=4)), _image(224), ("logits",)


def swin() -> Made:
    """Swin-Tiny, 224 x 224, depths 2 2 2 2 (of 2 2 6 2)."""
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(depths=[2, 2, 2, 2])
    return SwinForImageClassification(config), _image(224), ("logits",)


def bert() -> Made:
    """BERT-Base, 64 tokens, padded, 4 of 12 layers."""
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(num_hidden_layers=4))
    return model, _tokens(64, 30522), ("last_hidden_state", "pooler_output")


def gpt2() -> Made:
    """GPT-2, 64 tokens, padded, 4 of 12 layers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=4, use_cache=False))
    return model, _tokens(64, 50257), ("logits",)


def t5_encoder() -> Made:
    """The encoder of T5-Small, 64 tokens, padded."""
    from transformers import T5Config, T5EncoderModel

    model = T5EncoderModel(T5Config(num_layers=6, d_model=512, num_heads=8, d_ff=2048))
    return model, _tokens(64, 32128), ("last_hidden_state",)


def whisper_encoder() -> Made:
    """The encoder of Whisper-Base, 30 s of audio, 2 of 6 layers."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(d_model=512, encoder_layers=2, encoder_attention_heads=8,
                           encoder_ffn_dim=2048)  # fmt: skip

    def make(g: Any) -> dict[str, Any]:
        return {"input_features": torch.randn(1, 80, 3000, generator=g)}

    return WhisperEncoder(config), make, ("last_hidden_state",)


def segformer() -> Made:
    """SegFormer-B0, 128 x 128."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(SegformerConfig()), _image(128), ("logits",)


def detr() -> Made:
    """DETR with transformers' ResNet-50 as backbone, 256 x 256, 2 + 2 of 6 + 6 layers."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(out_features=["stage4"])
    config = DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, use_pretrained_backbone=False,
        encoder_layers=2, decoder_layers=2,
    )  # fmt: skip
    return DetrForObjectDetection(config), _image(256), ("logits", "pred_boxes")


NETWORKS: dict[str, Callable[[], Made]] = {
    f.__name__: f
    for f in (resnet, mobilenet_v2, convnext, vit, swin, bert, gpt2, t5_encoder, whisper_encoder,
              segformer, detr)
}  # fmt: skip


# -- one network by one route


def run(network: str, route: str) -> Result:
    """Compile and compare; the row of the table."""
    import torch

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    module, make, names = NETWORKS[network]()
    module = _Plain(module.eval(), names).eval()
    feeds = [make(torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    begin = time.perf_counter()
    with torch.no_grad():
        expected = [module(**feed) for feed in feeds]
        row: Result = {"network": network, "route": route}
        if route == "compile":
            found, report, extra = _compiled(module, feeds)
            row |= extra
        else:
            exe, ort = (_exported(module, feeds[0]), None) if route == "export" else _onnx(
                module, feeds, names, route == "onnx")  # fmt: skip
            report = [exe.report]
            inputs = [port.name for port in exe.inputs]
            found = [
                [exe.run({n: f[n].numpy() for n in inputs})[p.name] for p in exe.outputs]
                for f in feeds
            ]
            if ort is not None:
                row["ort_error"] = max(map(_difference, found, ort))
    row["error"] = max(_difference(f, e) for f, e in zip(found, expected, strict=True))
    worst = max(row["error"], row.get("ort_error", 0.0))
    row["outcome"] = "right" if worst < TOLERANCE else "wrong"
    row |= _coverage(report)
    row["seconds"] = round(time.perf_counter() - begin, 1)
    return row


def _plain_class() -> Any:
    import torch

    class Plain(torch.nn.Module):
        """The network with the outputs looked at as a tuple."""

        def __init__(self, inner: Any, names: tuple[str, ...]) -> None:
            super().__init__()
            self.inner, self.names = inner, names

        def forward(self, **inputs: Any) -> Any:
            out = self.inner(**inputs)
            return tuple(out[name] for name in self.names)

    return Plain


def _Plain(inner: Any, names: tuple[str, ...]) -> Any:  # noqa: N802
    return _plain_class()(inner, names)


def _exported(module: Any, feed: dict[str, Any]) -> Any:
    import torch

    import byoc

    return byoc.compile(torch.export.export(module, (), feed), vendors=["dnnl"])


def _onnx(
    module: Any, feeds: list[dict[str, Any]], names: tuple[str, ...], dynamo: bool
) -> tuple[Any, Any]:
    """The executable of the exported file, and what ONNX Runtime makes of the same file."""
    import torch
    from onnxruntime import InferenceSession

    import byoc

    feed = feeds[0]

    class Positional(torch.nn.Module):
        """The legacy exporter passes arguments by position."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *values: Any) -> Any:
            return self.inner(**dict(zip(feed, values, strict=True)))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options = {"input_names": list(feed), "output_names": list(names), "dynamo": dynamo}
        torch.onnx.export(Positional().eval(), tuple(feed.values()), str(path), **options)
        session = InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = [port.name for port in session.get_inputs()]
        ort = [session.run(list(names), {n: f[n].numpy() for n in inputs}) for f in feeds]
        return byoc.compile(path, vendors=["dnnl"]), ort


def _compiled(module: Any, feeds: list[dict[str, Any]]) -> tuple[Any, list[Any], Result]:
    import torch
    import torch._dynamo
    from torch._dynamo.utils import counters

    from byoc.integrations import torch_compile as torch_backend

    def graphs_of(backend: Any, **options: Any) -> tuple[Any, int, int]:
        torch._dynamo.reset()
        counters.clear()
        compiled = torch.compile(module, backend=backend, **options)
        found = [compiled(**feed) for feed in feeds]
        breaks = sum(counters["graph_break"].values())
        return found, counters["stats"]["unique_graphs"], breaks

    other = os.environ.get("BYOC_TABLE_AGAINST", "")
    _, graphs, breaks = graphs_of(other or _inductor_without_code)
    found, own_graphs, own_breaks = graphs_of(torch_backend.byoc, options={"strict": True})
    extra = {
        "graphs": own_graphs, "graph_breaks": own_breaks,
        "against": other or "inductor without C++",
        "against_graphs": graphs, "against_graph_breaks": breaks,
    }  # fmt: skip
    reports = [e.report for e in torch_backend.executables()]
    return [[t.numpy() for t in f] for f in found], reports, extra


def _inductor_without_code(graph: Any, inputs: Any) -> Any:
    """Inductor as a backend of torch.compile, but its graphs are run by torch."""
    from torch._inductor.compile_fx import compile_fx

    def by_torch(module: Any, inputs: Any, **options: Any) -> Any:
        def call(args: list[Any]) -> Any:
            return module(*args)

        call._boxed_call = True  # type: ignore[attr-defined]
        return call

    return compile_fx(graph, inputs, inner_compile=by_torch)


def _difference(found: Any, expected: Any) -> float:
    import numpy as np

    worst = 0.0
    assert len(found) == len(expected), (len(found), len(expected))
    for a, b in zip(found, expected, strict=True):
        want = np.asarray(b)
        assert a.shape == want.shape and a.dtype == want.dtype, (a.shape, want.shape)
        worst = max(worst, float(np.abs(a - want).max() / np.abs(want).max()))
    return worst


def _coverage(reports: list[Any]) -> Result:
    ops = [op for report in reports for op in report.ops]
    whole = sum(op.flops or 0 for op in ops)
    taken = sum(op.flops or 0 for op in ops if op.place != "host")
    left = [op for op in ops if op.place == "host"]
    kinds: dict[str, Counter[str]] = {}
    for op in left:
        reason = op.refusals[0].reason if op.refusals else "no pattern of dnnl has it"
        kinds.setdefault(op.op, Counter())[reason] += 1
    return {
        "coverage": taken / whole if whole else None,
        "ops": len(ops),
        "segments": sum(len(report.segments) for report in reports),
        "host": {
            kind: {"count": sum(c.values()), "why": c.most_common(1)[0][0]}
            for kind, c in sorted(kinds.items(), key=lambda i: -sum(i[1].values()))
        },
    }


# -- all of them


def _in_process(network: str, route: str) -> Result:
    command = [sys.executable, "-m", "benchmarks.transformers_table", "--one", network, route]
    row: Result = {"network": network, "route": route}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, cwd=PAGE.parents[1],
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return row | {"outcome": "timeout", "message": f"over {TIMEOUT} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if lines:
        return dict(json.loads(lines[-1]))
    tail = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return row | {"outcome": "error", "message": f"exit {done.returncode}: {tail[:500]}"}


def _one(network: str, route: str) -> Result:
    try:
        return run(network, route)
    except Exception as error:
        if os.environ.get("BYOC_TABLE_DEBUG"):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())  # the reason is on line two
        return {"network": network, "route": route, "outcome": "error", "message": text[:900]}


def _stored() -> dict[str, Result]:
    if not RESULTS.exists():
        return {}
    return {f"{r['network']}/{r['route']}": r for r in json.loads(RESULTS.read_text())}


def _store(rows: dict[str, Result]) -> None:
    order = [f"{n}/{r}" for n in NETWORKS for r in ROUTES]
    text = json.dumps([rows[k] for k in order if k in rows], indent=1)
    aside = RESULTS.with_suffix(".new")
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(RESULTS)


# -- the page


def page(rows: dict[str, Result]) -> str:
    """docs/transformers.md from the results."""
    import importlib.metadata as metadata

    lines = [
        "# Transformers' networks",
        "",
        "Written by `python -m benchmarks.transformers_table --write-docs`. Each cell: the share",
        "of FLOPs that `dnnl` takes, and the largest difference from torch (of the largest value);",
        "for the ONNX files the one from ONNX Runtime, too. Graph breaks are those of byoc and of",
        "torch's inductor on the same network (up to where it writes C++), and graphs.",
        f"torch {metadata.version('torch').split('+')[0]}, "
        f"transformers {metadata.version('transformers')}.",
        "",
        "| network | " + " | ".join(ROUTES) + " | graph breaks, graphs: byoc; inductor |",
        "|---|" + "---|" * (len(ROUTES) + 1),
    ]
    for network, make in NETWORKS.items():
        cells = [_cell(rows.get(f"{network}/{route}")) for route in ROUTES]
        done = rows.get(f"{network}/compile", {})
        breaks = (
            f"{done['graph_breaks']}, {done['graphs']}; "
            f"{done['against_graph_breaks']}, {done['against_graphs']}"
            if "graph_breaks" in done
            else "?"
        )
        title = (make.__doc__ or network).rstrip(".")
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {breaks} |")
    lines += ["", "## What stays on the host, and why", ""]
    for network in NETWORKS:
        for route in ("export", "onnx"):
            row = rows.get(f"{network}/{route}", {})
            parts = [
                f"`{kind}` ({item['count']}): {item['why']}"
                for kind, item in row.get("host", {}).items()
            ]
            if "host" in row:
                lines.append(f"- {network}, {route}: {'; '.join(parts) or 'nothing'}")
    return "\n".join(lines) + "\n"


def _cell(row: Result | None) -> str:
    if row is None:
        return "not run"
    if row["outcome"] not in ("right", "wrong"):
        return str(row["outcome"])
    from byoc.support.text import percent

    share = row.get("coverage")
    covered = percent(share)  # never rounded up to 100
    prefix = "" if row["outcome"] == "right" else "WRONG, "
    ort = f", {row['ort_error']:.0e}" if "ort_error" in row else ""
    return f"{prefix}{covered}, {row['error']:.0e}{ort}"


def main() -> int:
    """Run what is asked for; exit 1 when something is not right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--routes", default=",".join(ROUTES))
    parser.add_argument("--json", action="store_true", help="rows as JSON lines on stdout")
    parser.add_argument("--write-docs", action="store_true", help="write the page from the results")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "ROUTE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_one(*args.one)))
        return 0
    rows = _stored()
    failed = False
    if args.write_docs and sys.argv[1:] == ["--write-docs"]:
        PAGE.write_text(page(rows), encoding="utf-8")
        return 0
    for network in args.networks.split(","):
        for route in args.routes.split(","):
            row = _in_process(network, route)
            rows = _stored() | {f"{network}/{route}": row}
            _store(rows)
            failed |= row["outcome"] != "right"
            text = f"{network:16} {route:12} {_cell(row)} {row.get('message', '')}"
            print(json.dumps(row) if args.json else text, flush=True)
    if args.write_docs:
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
