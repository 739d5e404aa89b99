"""Plans for concrete shapes of symbolic models: the VM's answers; kept, counted, bounded."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.bench import difference
from byoc.plugins.discovery import find
from byoc.specialise import Specialise
from byoc.specialise.build import bind_dims
from byoc.testing.zoo import build, random_inputs

SMALL = {"batch": "batch", "features": 16, "hidden": 32, "classes": 8}


def rows(operators: str = "MatMul Relu", columns: int = 6) -> onnx.ModelProto:
    """x[n, columns] through a product and an activation: cheap to compile."""
    w = np.random.default_rng(3).standard_normal((columns, columns)).astype("float32")
    nodes = []
    value = "x"
    for number, op in enumerate(operators.split()):
        out = "y" if number == len(operators.split()) - 1 else f"v{number}"
        options = {"axis": 0} if op == "Softmax" else {}
        inputs = [value, "w"] if op == "MatMul" else [value]
        nodes.append(helper.make_node(op, inputs, [out], **options))
        value = out
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(w, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def x_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 6)).astype("float32")


def states(exe: byoc.Executable) -> dict[tuple[int, ...], str]:
    return {tuple(p.sizes.values()): p.state for p in exe.specialisations.plans}


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert difference(found, expected).relative <= 1e-4


TEXT = {"batch": "batch", "sequence": "sequence"}
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "options", "dims", "vendors"),
    [
        pytest.param("mlp", SMALL, [{"batch": 1}, {"batch": 5}], ["dnnl"]),
        pytest.param("mlp", SMALL, [{"batch": 1}, {"batch": 5}], []),
        pytest.param("mobilenet_v2", {"batch": "batch", "image": 32}, [{"batch": 2}], ["dnnl"]),
        pytest.param(
            "bert_tiny", TEXT, [{"batch": 1, "sequence": 7}, {"batch": 2, "sequence": 16}], ["dnnl"]
        ),
        pytest.param("gpt2_tiny", TEXT, [{"batch": 2, "sequence": 9}], ["dnnl"]),
        pytest.param("vit_tiny", {"batch": "batch"}, [{"batch": 2}], ["dnnl"], marks=SLOW),
        pytest.param(
            "mobilenet_v2", {"batch": "batch", "image": 32}, [{"batch": 2}], [], marks=SLOW
        ),
        pytest.param("bert_tiny", TEXT, [{"batch": 2, "sequence": 16}], [], marks=SLOW),
        pytest.param("gpt2_tiny", TEXT, [{"batch": 2, "sequence": 9}], [], marks=SLOW),
        pytest.param("vit_tiny", {"batch": "batch"}, [{"batch": 2}], [], marks=SLOW),
    ],
)
def test_plans_answer_like_the_reference(name, options, dims, vendors, reference):
    model = build(name, **options)
    exe = byoc.compile(model, vendors, specialise=Specialise(at_once=True))
    for seed, sizes in enumerate(dims):
        inputs = random_inputs(model, seed, sizes)
        found, expected = exe.run(inputs), reference(model, inputs)
        for output in expected:
            close(found[output], expected[output])
    seen = exe.specialisations
    assert (seen.hits, seen.misses, seen.built) == (len(dims), 0, len(dims)), str(seen)


def test_the_vm_answers_until_the_plan_is_there(reference):
    model = rows()
    exe = byoc.compile(model, specialise=Specialise(after=3))
    x = x_of(4)
    (expected,) = reference(model, {"x": x}).values()
    for count in range(1, 4):
        close(exe(x), expected)
        assert exe.specialisations.misses == count
    exe.wait(60)
    assert states(exe) == {(4,): "ready"}
    close(exe(x), expected)
    close(exe.run({"x": x})["y"], expected)
    seen = exe.specialisations
    assert (seen.hits, seen.misses, seen.built, seen.plans[0].uses) == (2, 3, 1, 2)
    assert seen.plans[0].seconds > 0 and "n = 4: ready, 2 uses" in str(seen)


def test_calls_do_not_wait_for_a_plan_that_is_being_built(monkeypatch):
    gate, begun = threading.Event(), threading.Event()
    from byoc.specialise import build as specialise_build

    bind = specialise_build.bind_dims

    def slowly(*args: object) -> object:
        begun.set()
        assert gate.wait(60)
        return bind(*args)

    monkeypatch.setattr(specialise_build, "bind_dims", slowly)
    exe = byoc.compile(rows(), specialise=Specialise(after=1))
    try:
        exe(x_of(2))
        assert begun.wait(60)
        for n in (2, 3, 2):
            assert exe(x_of(n)).shape == (n, 6)
        assert states(exe)[2,] == "building" and exe.specialisations.hits == 0
    finally:
        gate.set()
    exe.wait(60)
    assert states(exe) == {(2,): "ready", (3,): "ready"}


def test_plans_are_bounded_and_the_last_used_stay():
    exe = byoc.compile(rows(), specialise=Specialise(limit=2, at_once=True))
    for n in (1, 2, 1, 3):
        exe(x_of(n))
    assert set(states(exe)) == {(1,), (3,)}
    assert exe.specialisations.evictions == 1
    exe(x_of(2))
    seen = exe.specialisations
    assert set(states(exe)) == {(2,), (3,)} and (seen.built, seen.evictions) == (4, 2)


def test_shapes_in_turn_do_not_compile_for_ever():
    """More shapes than fit, in a circle: each plan given up has to be met more often."""
    exe = byoc.compile(rows(), specialise=Specialise(limit=1, after=1))
    for _ in range(15):
        for n in (1, 2):
            exe(x_of(n))
            exe.wait(60)
    assert exe.specialisations.built <= 10


def test_memory_of_a_plan_that_was_given_up_goes():
    import gc
    import weakref

    exe = byoc.compile(rows(), specialise=Specialise(limit=1, at_once=True))
    exe(x_of(1))
    (_, session) = list(exe._runner.shapes.sessions())
    gone = weakref.ref(session)
    del session
    exe(x_of(2))
    gc.collect()
    assert gone() is None


def test_weights_are_shared_by_all_plans():
    exe = byoc.compile(rows(columns=64), specialise=Specialise(at_once=True))
    for n in (16, 32, 64):  # of few rows, kernels choose other layouts
        exe(np.zeros((n, 64), "float32"))
    _, *plans = exe._runner.shapes.sessions()
    large = [
        {c.__array_interface__["data"][0] for c in p.program.constants if c.nbytes > 4096}
        for p in plans
    ]
    assert len(large) == 3 and large[0] and large[0] == large[1] == large[2], large


def test_several_shapes_from_several_threads(reference):
    model = rows()
    exe = byoc.compile(model, ["dnnl"], specialise=Specialise(limit=3, after=2))
    inputs = {n: x_of(n, n) for n in range(1, 7)}
    expected = {n: reference(model, {"x": x})["y"] for n, x in inputs.items()}

    def work(seed: int) -> None:
        for n in np.random.default_rng(seed).integers(1, 7, 60):
            close(exe(inputs[n]) if seed % 2 else exe.submit(inputs[n]).result(), expected[n])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    exe.wait(60)
    seen = exe.specialisations
    assert seen.hits + seen.misses == 360
    ready = [p.sizes["n"] for p in seen.plans if p.state == "ready"]
    assert 0 < len(ready) <= 3
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: close(exe(inputs[n]), expected[n]), ready * 10))
    assert exe.specialisations.hits == seen.hits + 10 * len(ready)


def test_at_once_compiles_a_shape_once_however_many_ask():
    exe = byoc.compile(rows(), specialise=Specialise(at_once=True))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: exe(x_of(3)), range(12)))
    seen = exe.specialisations
    assert (seen.built, seen.hits, seen.misses) == (1, 12, 0)


def test_requests_map_await_and_profile_use_plans(reference):
    model = rows()
    exe = byoc.compile(model, specialise=Specialise(at_once=True))
    xs = [x_of(n, n) for n in (2, 3, 2, 4)]
    expected = [reference(model, {"x": x})["y"] for x in xs]
    for found, right in zip(exe.map(xs), expected, strict=True):
        close(found, right)
    close(asyncio.run(exe.acall(xs[0])), expected[0])
    close(exe.submit({"x": xs[1]}).result()["y"], expected[1])
    assert exe.specialisations.hits == 6 and exe.specialisations.built == 3
    assert {task.kind for task in exe.profile(xs[0]).tasks} == {"host"}
    exe.max_in_flight = 5
    assert {s.max_in_flight for s in exe._runner.shapes.sessions()} == {5}


def test_a_shape_that_cannot_have_a_plan_stays_on_the_vm(caplog, reference):
    model = build("branch")
    for port in (*model.graph.input, *model.graph.output):
        if port.type.tensor_type.shape.dim:
            port.type.tensor_type.shape.dim[0].dim_param = "n"
            break
    try:
        exe = byoc.compile(model, specialise=Specialise(after=1))
    except byoc.ModelError:
        pytest.skip("the branches fix their shape")
    inputs = random_inputs(model, 0, {"n": 1})
    with caplog.at_level(logging.WARNING, "byoc.runtime"):
        for _ in range(3):
            for name, array in reference(model, inputs).items():
                close(exe.run(inputs)[name], array)
            exe.wait(60)
    (plan,) = exe.specialisations.plans
    assert plan.state == "failed" and "control flow" in plan.message
    assert caplog.text.count("has no plan for") == 1
    assert exe.specialisations.built == 0


def test_wrong_inputs_are_refused_as_the_model_says_them():
    model = build("bert_tiny", batch="batch", sequence="sequence")
    exe = byoc.compile(model, ["dnnl"], specialise=Specialise(at_once=True))
    inputs = random_inputs(model, 0, {"batch": 1, "sequence": 8})
    inputs["attention_mask"] = np.ones((1, 7), np.int64)
    with pytest.raises(byoc.InputError, match=r"attention_mask.*axis 1 is 7, expected 8"):
        exe.run(inputs)
    assert exe.specialisations.built == 0


class TestBuckets:
    def test_calls_are_padded_up_and_cut_back(self, reference):
        model = rows()
        options = Specialise(at_once=True, buckets={"n": (4, 8)})
        exe = byoc.compile(model, specialise=options)
        for n in (3, 1, 4, 5, 8, 9):
            x = x_of(n, n)
            close(exe(x), reference(model, {"x": x})["y"])
            close(exe.submit(x).result(), reference(model, {"x": x})["y"])
        assert set(states(exe)) == {(4,), (8,), (9,)}  # beyond the largest: as it is
        uses = {p.sizes["n"]: (p.uses, p.padded) for p in exe.specialisations.plans}
        assert uses == {4: (6, 4), 8: (4, 2), 9: (2, 0)}

    def test_positions_behind_a_mask(self, reference):
        model = build("bert_tiny", batch=1, sequence="sequence")
        exe = byoc.compile(
            model, ["dnnl"], specialise=Specialise(at_once=True, buckets={"sequence": (8, 16)})
        )
        for length in (5, 8, 11):
            inputs = random_inputs(model, length, {"sequence": length})
            inputs["attention_mask"][:] = 1
            found, expected = exe.run(inputs), reference(model, inputs)
            for output in expected:
                close(found[output], expected[output])
        seen = exe.specialisations
        assert seen.padding == "" and seen.built == 2 and seen.hits == 3, str(seen)

    def test_what_padding_would_change_is_found_and_not_padded(self, reference, caplog):
        model = rows("MatMul Softmax")  # over the rows: what is added has its share
        exe = byoc.compile(model, specialise=Specialise(at_once=True, buckets={"n": (8,)}))
        with caplog.at_level(logging.WARNING, "byoc.runtime"):
            for n in (5, 5, 8, 6):
                x = x_of(n, n)
                close(exe(x), reference(model, {"x": x})["y"])
        seen = exe.specialisations
        assert "nothing is padded any more" in seen.padding and "'y' differs by" in seen.padding
        assert "nothing is padded any more" in caplog.text
        assert all(p.padded == 0 for p in seen.plans)
        assert seen.hits + seen.misses == 4

    def test_fill(self, reference):
        model = rows("Softmax")  # over the rows; -inf has no share
        options = Specialise(at_once=True, buckets={"n": (8,)}, fill={"x": -np.inf})
        exe = byoc.compile(model, specialise=options)
        x = x_of(5)
        close(exe(x), reference(model, {"x": x})["y"])
        assert exe.specialisations.padding == "" and exe.specialisations.plans[0].padded == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit must be 1 or more"),
        ({"after": 0}, "after must be 1 or more"),
        ({"shapes": [{"n": 0}]}, "whole number above 0"),
        ({"shapes": [{"m": 3}]}, "no symbolic dimension 'm'.*legal: n"),
        ({"shapes": [{}]}, "has no size for n"),
        ({"buckets": {"rows": (4,)}}, "no symbolic dimension 'rows'"),
        ({"buckets": {"n": (2.5,)}}, "whole number above 0"),
        ({"fill": {"z": 1}}, "no input 'z'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(byoc.OptionError, match=message):
        byoc.compile(rows(), specialise=Specialise(**options))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"background": True}, "background is for models of fixed shapes"),
        ({"placement": "measured"}, "placement='measured' times one shape"),
        ({"locked": "no.lock"}, "places the ops of every shape anew"),
    ],
)
def test_what_does_not_go_together(others, message):
    with pytest.raises(byoc.OptionError, match=message):
        byoc.compile(rows(), specialise=True, **others)


def test_shapes_named_are_there_from_the_start_and_stay():
    exe = byoc.compile(
        rows(), specialise=Specialise(limit=1, at_once=True, shapes=[{"n": 1}, {"n": 2}])
    )
    assert states(exe) == {(1,): "prepared", (2,): "prepared"}
    for n in (1, 2, 3, 4, 1, 2):
        exe(x_of(n))
    assert states(exe) == {(1,): "prepared", (2,): "prepared", (4,): "ready"}
    assert exe.specialisations.misses == 0


def test_static_models_have_no_plans():
    exe = byoc.compile(build("mlp", **{**SMALL, "batch": 2}), specialise=True)
    exe(np.zeros((2, 16), "float32"))
    assert exe.specialisations.plans == () and exe.specialisations.hits == 0


def test_closing_ends_the_building():
    exe = byoc.compile(rows(), specialise=Specialise(after=1))
    exe.close()
    exe(x_of(2))
    assert exe.wait(10) and exe.specialisations.plans == ()


def test_dims_are_bound_by_their_names():
    from byoc.frontends import import_model

    model = import_model(build("bert_tiny", batch="batch", sequence="sequence"))
    main = bind_dims(model, {"batch": 2, "sequence": 5}).mod["main"]
    assert [tuple(map(int, p.ty.shape)) for p in main.params] == [(2, 5)] * len(main.params)
    partly = bind_dims(model, {"batch": 2}).mod["main"]
    assert str(partly.params[0].ty.shape[1]) == "sequence"


def test_compiling_in_several_threads_at_once():
    """TVM's block builders are one list for all threads: byoc compiles one model at a time."""

    def work(n: int) -> tuple[int, ...]:
        return byoc.compile(rows(columns=n))(np.zeros((2, n), "float32")).shape

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(3, 9))) == [(2, n) for n in range(3, 9)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    options = Specialise(shapes=[{"n": 2}, {"n": 8}], buckets={"n": (2, 8)}, after=1)
    exe = byoc.compile(rows(), ["dnnl"], specialise=options)
    path = tmp_path_factory.mktemp("plans") / "m.byoc"
    exe.save(path)
    return path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, []),
        (["n=1,8"], [{"n": 1}, {"n": 8}]),
        (["a=1,2", "b=3"], [{"a": 1, "b": 3}, {"a": 2, "b": 3}]),
    ],
)
def test_sizes_on_the_command_line(given, found):
    from byoc.cli.compile import _combinations

    assert _combinations(given) == found


@pytest.mark.parametrize("given", ["n", "n=", "=3", "n=0", "n=1,x", "n=-2"])
def test_wrong_sizes_on_the_command_line(given):
    import typer

    from byoc.cli.compile import _combinations

    with pytest.raises(typer.BadParameter, match="--shapes takes NAME=N,N"):
        _combinations([given])


class TestFiles:
    def test_plans_are_saved_and_loaded(self, saved, reference):
        exe = byoc.load(saved)
        assert states(exe) == {(2,): "prepared", (8,): "prepared"}
        model = rows()
        for n in (2, 8, 5, 1, 9, 9, 9):
            x = x_of(n, n)
            close(exe(x), reference(model, {"x": x})["y"])
        exe.wait(10)
        seen = exe.specialisations
        assert (seen.hits, seen.misses, seen.built) == (4, 3, 0)
        assert "need the compiler" in seen.note and "need the compiler" in str(seen)

    def test_loading_them_imports_no_compiler(self, saved):
        code = (
            f"import sys, byoc, numpy as np; e = byoc.load({str(saved)!r}); "
            "print(e(np.ones((8, 6), 'float32')).shape, e.specialisations.hits, "
            "[m for m in sys.modules if m.split('.')[0] == 'tvm'])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "(8, 6) 1 []\n", done.stderr

    def test_weights_are_in_the_file_once(self, tmp_path):
        sizes = []
        for shapes in ([{"n": 16}], [{"n": 16}, {"n": 32}, {"n": 64}]):
            exe = byoc.compile(rows(columns=64), specialise=Specialise(shapes=shapes))
            exe.save(tmp_path / "m.byoc")
            with zipfile.ZipFile(tmp_path / "m.byoc") as archive:
                sizes.append(archive.getinfo("weights.bin").file_size)
        assert sizes[1] < 1.1 * sizes[0]

    def test_every_member_of_a_plan_is_verified(self, saved, tmp_path):
        with zipfile.ZipFile(saved) as archive:
            names = [n for n in archive.namelist() if n.startswith("shapes/1/")]
            info = archive.getinfo("shapes/1/plan.json")
        assert {"shapes/1/plan.json", "shapes/1/segments/dnnl_0.bin"} <= set(names)
        data = bytearray(saved.read_bytes())
        data[info.header_offset + 200] ^= 1
        damaged = tmp_path / "damaged.byoc"
        damaged.write_bytes(data)
        with pytest.raises(byoc.ArtifactError, match="shapes/1/plan.json"):
            byoc.load(damaged)

    def test_a_plan_of_another_shape_than_it_says_is_refused(self, saved, tmp_path):
        """Inputs are not checked again by a plan: what a file says of it must be true."""
        from byoc.runtime import load_program, save_program

        program = load_program(saved, lambda name: find(name).runtime)
        (_, small), (_, large) = program.shapes
        for wrong in (({"n": 8}, small), ({"n": 2}, large)):
            save_program(dataclasses.replace(program, shapes=(wrong,)), tmp_path / "m.byoc")
            with pytest.raises(byoc.ArtifactError, match=r"the plan for .*has the ports"):
                byoc.load(tmp_path / "m.byoc")
        odd = dataclasses.replace(program, shapes=(({"m": 2}, small),))
        save_program(odd, tmp_path / "m.byoc")
        with pytest.raises(byoc.ArtifactError, match="no symbolic dimension 'm'"):
            byoc.load(tmp_path / "m.byoc")

    def test_a_file_without_plans_keeps_its_old_format(self, tmp_path):
        exe = byoc.compile(rows(), specialise=True)
        exe.save(tmp_path / "m.byoc")
        from byoc.runtime.io.checking import inspect_file

        assert inspect_file(tmp_path / "m.byoc").format == 2
        assert byoc.load(tmp_path / "m.byoc").specialisations.plans == ()
