"""Locks: the same text for the same placement, obeyed to the letter, or an error that says why."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import onnx
import pytest

import byoc
from byoc import LockError
from byoc.frontends import import_model
from byoc.partition.snapshot.identity import identify
from byoc.placement.lock import make_lock, read_lock, write_lock
from byoc.placement.lock_text import parse_lock, render_lock
from byoc.testing.zoo import build, random_inputs

QUICK = ("squeezenet", "resnet50", "bert_tiny")


def renamed(model, prefix="r:"):
    """The model with other names for every tensor and node; inputs and outputs too."""
    again = onnx.ModelProto()
    again.CopyFrom(model)
    graph = again.graph
    for item in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        item.name = f"{prefix}{item.name}"
    for k, node in enumerate(graph.node):
        node.name = f"{prefix}{k}"
        node.input[:] = [f"{prefix}{name}" if name else "" for name in node.input]
        node.output[:] = [f"{prefix}{name}" if name else "" for name in node.output]
    return again


def unnamed(model):
    again = onnx.ModelProto()
    again.CopyFrom(model)
    for node in again.graph.node:
        node.name = ""
    return again


def lock_of(model, path, vendors=("dnnl",), placement="model", **options):
    result = byoc.partition_model(model, list(vendors), placement=placement, lock=path, **options)
    return result, path.read_text()


def without_names(text):
    lock = parse_lock(text, "lock")
    return replace(lock, groups=tuple(replace(g, names=()) for g in lock.groups))


@pytest.fixture(scope="module")
def models(zoo):
    return {name: str(zoo(name)) for name in QUICK}


@pytest.mark.parametrize("name", QUICK)
def test_a_lock_reads_back_and_is_obeyed(models, name, tmp_path):
    result, text = lock_of(models[name], tmp_path / "a.lock")
    lock = read_lock(tmp_path / "a.lock")
    assert render_lock(lock) == text
    assert lock.ops == len(result.report.ops)
    assert lock.segments == len(result.segments)
    assert len(text.splitlines()) == 8 + len(lock.groups)
    again = byoc.partition_model(
        models[name], ["dnnl"], locked=tmp_path / "a.lock", lock=tmp_path / "b.lock"
    )
    assert again.report.segments == result.report.segments
    assert [op.place for op in again.report.ops] == [op.place for op in result.report.ops]
    assert (tmp_path / "b.lock").read_text() == text


CODE = """
import sys, byoc
byoc.partition_model(sys.argv[1], ["dnnl", "onnxruntime"], placement="model", lock=sys.argv[2])
"""


@pytest.mark.parametrize("name", ["squeezenet", "bert_tiny"])
def test_separate_processes_write_the_same_bytes(models, name, tmp_path):
    digests = set()
    for seed in ("0", "4242"):
        path = tmp_path / f"{seed}.lock"
        subprocess.run(
            [sys.executable, "-c", CODE, models[name], path],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd="/",
        )
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resnet50", renamed),
        ("squeezenet", unnamed),
        ("bert_tiny", renamed),
        ("bert_tiny", unnamed),
    ],
)
def test_renaming_every_tensor_changes_nothing_but_names(models, name, change, tmp_path):
    model = onnx.load(models[name])
    _, first = lock_of(model, tmp_path / "a.lock")
    other, second = lock_of(change(model), tmp_path / "b.lock")
    assert without_names(first) == without_names(second)
    if change is renamed:
        assert first != second
    # … and the old lock still places the renamed model
    again = byoc.partition_model(change(model), ["dnnl"], locked=tmp_path / "a.lock")
    assert again.report.segments == other.report.segments


def test_weights_do_not_matter_shapes_do():
    def identity(**options):
        return identify(import_model(build("mlp", **options)).mod)

    base = identity(batch=4, hidden=64)
    assert identity(batch=4, hidden=64, seed=3) == base
    other = identity(batch=5, hidden=64)
    assert other.structure != base.structure
    assert len(other.marks) == len(base.marks)


def test_names_of_symbolic_dimensions_do_not_matter():
    one = identify(import_model(build("bert_tiny", batch="b", sequence="s")).mod)
    two = identify(import_model(build("bert_tiny", batch="n", sequence="t")).mod)
    assert one == two
    assert one != identify(import_model(build("bert_tiny", batch="b", sequence=9)).mod)


def test_compile_writes_and_obeys(tmp_path, reference):
    model = build("bert_tiny")
    policy = byoc.Policy((byoc.Rule("force", "host", op="nn.gelu"),))
    first = byoc.compile(
        model, ["dnnl"], placement="model", policy=policy, lock=tmp_path / "a.lock"
    )
    again = byoc.compile(model, ["dnnl"], locked=tmp_path / "a.lock", lock=tmp_path / "b.lock")
    assert len(first.report.segments) > 1
    assert again.report.segments == first.report.segments
    assert (tmp_path / "a.lock").read_bytes() == (tmp_path / "b.lock").read_bytes()
    inputs = random_inputs(model, 0)
    expected = reference(model, inputs)
    for name, found in again.run(inputs).items():
        assert abs(found - expected[name]).max() < 1e-4


@pytest.mark.parametrize("placement", ["order", "model"])
def test_locks_of_two_vendors(tmp_path, placement):
    model = build("bert_tiny")
    vendors = ["onnxruntime", "dnnl"]
    policy = byoc.Policy(
        (byoc.Rule("force", "dnnl", op="matmul"), byoc.Rule("force", "onnxruntime", op="tanh"))
    )
    result = byoc.partition_model(
        model, vendors, placement=placement, policy=policy, lock=tmp_path / "a.lock"
    )
    again = byoc.partition_model(model, vendors[::-1], locked=tmp_path / "a.lock")
    assert [op.place for op in again.report.ops] == [op.place for op in result.report.ops]
    assert {s.vendor for s in result.segments} == {"dnnl", "onnxruntime"}
    assert [s.nodes for s in again.segments] == [s.nodes for s in result.segments]


class TestALockThatDoesNotFit:
    def changed(self, tmp_path, change, expected):
        model = build("mlp", batch=4, hidden=64)
        lock_of(model, tmp_path / "a.lock")
        change(model.graph)
        with pytest.raises(LockError) as caught:
            byoc.partition_model(model, ["dnnl"], locked=tmp_path / "a.lock")
        text = str(caught.value)
        assert text.startswith(f"the lock {tmp_path / 'a.lock'} does not fit the model: ")
        assert expected in text
        assert "make the lock again" in text

    def test_another_kind_of_op(self, tmp_path):
        def change(graph):
            relu = next(node for node in graph.node if node.op_type == "Relu")
            relu.op_type = "Sigmoid"

        self.changed(tmp_path, change, "op 2 is sigmoid (/layers.1/Relu), locked is nn.relu (")

    def test_an_op_more(self, tmp_path):
        def change(graph):
            last = graph.node[-1]
            name, last.output[0] = last.output[0], "inner"
            graph.node.append(onnx.helper.make_node("Tanh", ["inner"], [name], name="extra"))

        self.changed(tmp_path, change, "tanh (extra), is not in it: it has ")

    def test_an_op_less(self, tmp_path):
        def change(graph):
            last = graph.node[-1]
            before = graph.node[-2]
            name = last.output[0]
            graph.node.remove(last)
            before.output[0] = name
            graph.output[0].type.tensor_type.shape.dim[1].dim_value = 64

        self.changed(tmp_path, change, ", is no longer in the model, which has ")

    def test_other_shapes(self, tmp_path):
        def change(graph):
            for value in (*graph.input, *graph.output):
                value.type.tensor_type.shape.dim[0].dim_value = 7

        self.changed(
            tmp_path,
            change,
            "op 0, matmul (/layers.0/Gemm), has other shapes, attributes or inputs",
        )


def test_a_vendor_of_the_lock_that_is_not_given(tmp_path, models):
    lock_of(models["squeezenet"], tmp_path / "a.lock")
    with pytest.raises(LockError, match="puts ops on 'dnnl', which is not among the vendors"):
        byoc.partition_model(models["squeezenet"], [], locked=tmp_path / "a.lock")


def test_a_lock_is_the_placement(tmp_path, models):
    lock_of(models["squeezenet"], tmp_path / "a.lock")
    with pytest.raises(byoc.OptionError, match="placement='model' cannot be obeyed too"):
        byoc.partition_model(
            models["squeezenet"], ["dnnl"], placement="model", locked=tmp_path / "a.lock"
        )


def test_a_lock_against_a_policy(tmp_path, models):
    lock_of(models["squeezenet"], tmp_path / "a.lock")
    with pytest.raises(byoc.OptionError, match="the policy forbids it"):
        byoc.partition_model(
            models["squeezenet"],
            ["dnnl"],
            locked=tmp_path / "a.lock",
            policy=byoc.Policy((byoc.Rule("exclude", "dnnl", op="concat"),)),
        )


def test_another_version_of_a_vendor_is_said(tmp_path, models):
    path = tmp_path / "a.lock"
    lock_of(models["squeezenet"], path)
    write_lock(replace(read_lock(path), vendors={"dnnl": "0.1"}), path)
    report = byoc.partition_model(models["squeezenet"], ["dnnl"], locked=path).report
    assert any("was made with dnnl 0.1, here is " in w for w in report.warnings)


class TestText:
    @pytest.fixture
    def text(self, tmp_path):
        policy = byoc.Policy((byoc.Rule("force", "host", op="nn.gelu"),))
        return lock_of(build("bert_tiny"), tmp_path / "a.lock", policy=policy)[1]

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("schema: byoc.placement-lock", "schema: other", "no placement lock: expected schema"),
            ("version: 1", "version: 7", "of schema version 7, this byoc reads 1; make the lock"),
            ("groups:", "groups: 3 #", "damaged placement lock"),
            ("placement:", "place:", "damaged placement lock: 'placement' is missing"),
            ("model: {", "model: [", "damaged placement lock: "),
            ("- {place: dnnl", "- {plac: dnnl", "damaged placement lock: 'place' is missing"),
            ('ops: "0-', 'ops: "1-', "the group has "),
            ("marks: \"", "marks: \"ffff", "marks are of "),
        ],
    )  # fmt: skip
    def test_damage_is_named(self, text, old, new, words):
        assert old in text
        with pytest.raises(LockError) as caught:
            parse_lock(text.replace(old, new, 1), "a.lock")
        assert str(caught.value).startswith("a.lock")
        assert words in str(caught.value)

    def test_damage_of_a_group_has_a_line(self, text):
        at = next(
            k for k, line in enumerate(text.splitlines(), 1) if line.startswith("- {place: d")
        )
        with pytest.raises(LockError, match=rf"a\.lock:{at}: damaged placement lock: 'ops'"):
            parse_lock(text.replace("dnnl, ops: ", "dnnl, op: ", 1), "a.lock")

    def test_an_op_that_is_missing_or_there_twice(self, text):
        lines = text.splitlines()
        lock = parse_lock(text, "a.lock")
        assert len(lock.groups) > 1
        with pytest.raises(LockError, match=r"its groups hold \d+ ops \(op \d+ is missing\)"):
            parse_lock("\n".join(lines[:-1]), "a.lock")
        with pytest.raises(LockError, match=r"op \d+ is there twice"):
            parse_lock("\n".join([*lines, lines[-1]]), "a.lock")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(LockError, match=r"cannot read the lock .*none\.lock"):
            read_lock(tmp_path / "none.lock")

    def test_a_file_that_cannot_be_written(self, text, tmp_path):
        with pytest.raises(LockError, match="cannot write the lock"):
            write_lock(parse_lock(text, "a"), tmp_path / "no" / "a.lock")
        assert not list(tmp_path.glob(".*"))

    def test_names_of_all_kinds_survive(self, text):
        lock = parse_lock(text, "")
        odd = ["a/b*3", "no", "é 中 🙂", "x: [y]", '"q"', "a\nb\t", "", "1e5", "~", "/p/", "\x7f"]
        groups = [replace(g, names=tuple((odd * len(g.ops))[: len(g.ops)])) for g in lock.groups]
        lock = replace(lock, groups=tuple(groups))
        assert parse_lock(render_lock(lock), "") == lock
        assert len(render_lock(lock).splitlines()) == len(text.splitlines())


def test_a_report_of_another_module():
    small, large = import_model(build("mlp")).mod, byoc.partition_model(build("bert_tiny"))
    with pytest.raises(LockError, match="as it was before it was partitioned"):
        make_lock(small, large.report, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bert", "gpt2", "vit", "shufflenet", "densenet121", "inception_v2"]
)
def test_locks_of_the_zoo(zoo, name, tmp_path):
    result, text = lock_of(str(zoo(name)), tmp_path / "a.lock")
    again = byoc.partition_model(
        str(zoo(name)), ["dnnl"], locked=tmp_path / "a.lock", lock=tmp_path / "b.lock"
    )
    assert again.report.segments == result.report.segments
    assert (tmp_path / "b.lock").read_text() == text
