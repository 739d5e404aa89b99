"""Artifacts for the C++ tests of byoc/session.h: ``make_artifacts.py FOLDER``.

Writes good ones with an input and the answer Python gives, and spoiled ones with what Python's
loader says of each: ``refused.tsv`` holds file, required key ("" for none) and message, which the
C++ loader must give word for word (up to "…", where the two name different things).
"""

from __future__ import annotations

import json
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.errors import ByocError
from byoc.plugins.discovery import find
from byoc.runtime import load_program
from byoc.runtime.io import archive
from byoc.runtime.io.saving import sign_file

FOLDER = Path(sys.argv[1])
RNG = np.random.default_rng(0)


def net(*, quantised: bool) -> onnx.ModelProto:
    """Two convolutions, the first one int8 where asked, and a softmax."""
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(array: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(array), f"c{len(constants)}"))
        return constants[-1].name

    def op(kind: str, inputs: list[str], **attrs: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], name=kind, **attrs))
        return nodes[-1].output[0]

    def snapped(x: str, scale: float) -> str:
        if not quantised:
            return x
        s, zero = constant(np.float32(scale)), constant(np.int8(0))
        return op("DequantizeLinear", [op("QuantizeLinear", [x, s, zero]), s, zero])

    w = (RNG.standard_normal((16, 3, 3, 3)) / 5).astype("float32")
    if quantised:
        q = np.clip(np.rint(w / 0.01), -127, 127).astype("int8")
        scale = constant(np.float32(0.01))
        weight = op("DequantizeLinear", [constant(q), scale, constant(np.int8(0))])
    else:
        weight = constant(w)
    x = op("Conv", [snapped("x", 0.03), weight], pads=[1, 1, 1, 1])
    x = op("Relu", [snapped(x, 0.05)])
    x = op("Conv", [x, constant((RNG.standard_normal((32, 16, 3, 3)) / 12).astype("float32"))])
    x = op("Relu", [x])
    x = op("ReduceMean", [x], axes=[2, 3], keepdims=0)
    y = op("Softmax", [x], axis=1)
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", kind, [1, 3, 20, 20])],
        [helper.make_tensor_value_info(y, kind, [1, 32])], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def good() -> None:
    """Artifacts that run, each with input and answer."""
    x = RNG.standard_normal((1, 3, 20, 20)).astype("float32")
    plain, int8 = net(quantised=False), net(quantised=True)
    faults = {"faults": [{"kind": "status", "call": 2}, {"kind": "exception", "call": 4}]}
    for name, model, options in (
        ("host", plain, {"vendors": []}),
        ("dnnl", plain, {"vendors": ["dnnl"]}),
        ("mixed", int8, {"vendors": ["npu", "dnnl"], "heal": True}),
        ("faulty", int8, {"vendors": {"npu": faults}, "heal": True}),
        ("unhealed", int8, {"vendors": {"npu": faults}, "heal": False}),
        ("isolated", plain, {"vendors": ["dnnl"], "isolate": True}),
        ("python", plain, {"vendors": ["onnxruntime"]}),
    ):
        executable = byoc.compile(model, **options)
        wanted = set(options["vendors"])
        used = {s.vendor for s in executable.report.segments}
        assert used == wanted, f"{name}: {used} of {wanted} are used"
        executable.save(FOLDER / f"{name}.byoc")
        y = executable(x)
        assert isinstance(y, np.ndarray)
        y.tofile(FOLDER / f"{name}.y")
    x.tofile(FOLDER / "x.bin")
    dynamic = net(quantised=False)
    dynamic.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    dynamic.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    byoc.compile(dynamic, vendors=[]).save(FOLDER / "dynamic.byoc")


def edited(
    name: str, target: str, change: Callable[[dict[str, Any], dict[str, bytes]], None]
) -> None:
    """An artifact with another manifest and other members, all hashes in order."""
    with zipfile.ZipFile(FOLDER / f"{name}.byoc") as source:
        data = {n: source.read(n) for n in source.namelist() if n != archive.MANIFEST}
        document = json.loads(source.read(archive.MANIFEST))
    change(document, data)

    def encode(members: Any) -> bytes:
        entries = [
            {"name": m.name, "size": m.size, "crc32": f"{m.crc32:08x}", "sha256": list(m.sha256)}
            for m in members
        ]
        document["members"] = [*entries, *document.get("again", [])]
        return json.dumps(document).encode()

    with (FOLDER / target).open("wb") as out:
        archive.write_archive(out, [(n, len(d), [d]) for n, d in data.items()], encode)


def spoiled() -> list[str]:
    """Files that must be refused."""
    names: list[str] = []

    def add(name: str, data: bytes) -> None:
        (FOLDER / name).write_bytes(data)
        names.append(name)

    whole = (FOLDER / "dnnl.byoc").read_bytes()
    add("empty.bad", b"")
    add("text.bad", b"this is no archive" * 100)
    add("longer.bad", whole + b"x")
    add("grown.bad", whole[:-85] + b"\0" * 64 + whole[-85:])
    picks = random.Random(1)
    for i in range(40):
        add(f"cut{i}.bad", whole[: picks.randrange(len(whole))])
    for i in range(150):
        at = (
            picks.randrange(len(whole))
            if i < 100
            else picks.randrange(len(whole) - 4000, len(whole))
        )
        flipped = bytearray(whole)
        flipped[at] ^= 1 << picks.randrange(8)
        add(f"flip{i}.bad", bytes(flipped))

    changes: dict[str, Callable[[dict[str, Any], dict[str, bytes]], None]] = {
        "newer": lambda m, d: m.update(format=99),
        "older": lambda m, d: m.update(format=0),
        "ffi": lambda m, d: m.update(tvm_ffi="0.2.1"),
        "feature": lambda m, d: m["target"]["features"].extend(["avx1024", "sse9"]),
        "machine": lambda m, d: m["target"].update(triple="riscv64-unknown-linux-gnu"),
        "missing_plan": lambda m, d: d.pop("plan.json"),
        "missing_weights": lambda m, d: d.pop("weights.bin"),
        "missing_host": lambda m, d: d.pop("host.so"),
        "missing_blob": lambda m, d: d.pop(f"segments/{m['segments'][0]['name']}.bin"),
        "no_host_code": lambda m, d: d.update({"host.so": b"not a library"}),
        "array_number": lambda m, d: m["segments"][0]["constants"].append(9999),
        "constant_number": lambda m, d: m["constants"].append(9999),
        "vendor_not_listed": lambda m, d: m["vendors"].clear(),
        "twice": lambda m, d: m["segments"].append(m["segments"][0]),
        "member_twice": lambda m, d: m.update(
            again=[{"name": "plan.json", "size": 1, "crc32": "0", "sha256": ["0" * 64]}]
        ),
        "member_outside": lambda m, d: m.update(
            again=[{"name": "../../x", "size": 1, "crc32": "0", "sha256": ["0" * 64]}]
        ),
        "member_more": lambda m, d: m.update(
            again=[{"name": "more.bin", "size": 1, "crc32": "0", "sha256": ["0" * 64]}]
        ),
        "member_hashes": lambda m, d: m.update(
            again=[{"name": "more.bin", "size": 1, "crc32": "0", "sha256": []}]
        ),
        "member_huge": lambda m, d: m.update(
            again=[{"name": "m.bin", "size": 2**40, "crc32": "0", "sha256": ["0" * 64] * 2**18}]
        ),
        "array_beyond": lambda m, d: m["arrays"][0].update(shape=[2**20, 2**18]),
        "array_offset": lambda m, d: m["arrays"][0].update(offset=7),
        "no_arrays": lambda m, d: m.pop("arrays"),
        "bad_body": lambda m, d: m.update(body="soup"),
        "bad_inputs": lambda m, d: m.update(inputs=3),
        "other_port": lambda m, d: m["inputs"][0].update(name="z"),
        "other_type": lambda m, d: m["outputs"][0]["type"].update(dtype="int64"),
        "plan_text": lambda m, d: d.update({"plan.json": b"{"}),
        "plan_version": lambda m, d: d.update(
            {"plan.json": d["plan.json"].replace(b'"version":1', b'"version":7')}
        ),
        "plan_segment": lambda m, d: d.update(
            {"plan.json": d["plan.json"].replace(m["segments"][0]["name"].encode(), b"nobody")}
        ),
        "not_json": lambda m, d: m.update(twins={"x": "y"}),
    }
    for name, change in changes.items():
        edited("mixed", f"{name}.bad", change)
        names.append(f"{name}.bad")
    return names


def strangers() -> None:
    """Artifacts of vendors that are not here; each loader names its own places."""
    for vendor, library in (("nosuch", "byoc_nosuch"), ("evil", "../../evil")):

        def change(
            m: dict[str, Any], d: dict[str, bytes], name: str = vendor, file: str = library
        ) -> None:
            m["vendors"] = {name: {**m["vendors"]["dnnl"], "library": file, "package": name}}
            m["segments"][0]["vendor"] = name

        edited("dnnl", f"{vendor}.vendor", change)


def said(path: Path, key: Path | None) -> str:
    """What Python's loader says."""
    from byoc.runtime import Session

    try:
        Session(load_program(path, lambda n: find(n).runtime, require_signature=key))
    except ByocError as error:
        return " ".join(str(error).split())
    raise AssertionError(f"{path} is not refused")


def comparable(text: str) -> str:
    """The part of a refusal that both loaders must give; parsers name places in their own words."""
    if "apache-tvm-ffi" in text:
        return text[: text.index(", 0.1.")]
    for both in (
        "manifest.json is no manifest", "array table", "the host library does not load",
        "plan has version", "'nobody'",
    ):  # fmt: skip
        if both in text:
            return both
    if "of the model" in text or "in the model" in text:
        return "puts of the plan and of the model differ"
    if "member 'plan.json'" in text and "missing" not in text and "damaged" not in text:
        return "plan"
    return text


def keys() -> list[tuple[str, str]]:
    """Keys, and files refused because of them."""
    pem = serialization.Encoding.PEM
    for name in ("mine", "other"):
        key = ed25519.Ed25519PrivateKey.generate()
        (FOLDER / f"{name}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        (FOLDER / f"{name}.pem").write_bytes(
            key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    signed = FOLDER / "signed.byoc"
    signed.write_bytes((FOLDER / "dnnl.byoc").read_bytes())
    sign_file(signed, FOLDER / "mine.key")
    data = signed.read_bytes()
    digit = b"1" if data[-1:] != b"1" else b"2"
    (FOLDER / "forged.bad").write_bytes(data[:-1] + digit)
    return [("dnnl.byoc", "mine.pem"), ("signed.byoc", "other.pem"), ("forged.bad", "mine.pem")]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    good()
    rows = [(name, "") for name in spoiled()] + keys()
    strangers()
    lines = []
    for name, key in rows:
        text = said(FOLDER / name, FOLDER / key if key else None)
        assert text, name
        lines.append(f"{name}\t{key}\t{comparable(text)}\n")
    (FOLDER / "refused.tsv").write_text("".join(lines), encoding="utf-8")


main()
