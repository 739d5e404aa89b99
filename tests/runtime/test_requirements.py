"""`Artifact.requires`: written, checked before anything runs, and named."""

from __future__ import annotations

import dataclasses
import platform

import numpy as np
import pytest
from c_session import run_in_c

from byoc.contract_checks import check_artifact
from byoc.errors import CompileError, VendorError
from byoc.plugins.discovery import VendorInfo
from byoc.runtime import (
    Healing,
    Isolation,
    Session,
    VendorUse,
    cpu_features,
    load_program,
    save_program,
)
from byoc.runtime.io.checking import check_file, inspect_file
from byoc.segment import Artifact, Requires, Segment
from byoc.vendor import Equipment, PythonRuntime

LOADED = []


def init(blob, constants, options):
    LOADED.append(blob)

    def execute(inputs, outputs):
        outputs[0][...] = inputs[0]

    return execute


def equipment():
    return Equipment(("chip 7", "chip 8"), "2.10.1", 1 << 30)


def broken():
    raise OSError("the driver hangs")


RUNTIME = PythonRuntime(init, equipment=equipment)
HERE = platform.machine()


def program(make, requires, runtime=RUNTIME, **changes):
    base = make("", (3,))
    artifact = dataclasses.replace(base.artifacts[0], requires=requires)
    return dataclasses.replace(
        base,
        artifacts=(artifact,),
        vendors={"numpy": VendorUse("1", {}, runtime)},
        **changes,
    )


CASES = [
    (Requires(), ""),
    (Requires(cpu_features=tuple(sorted(cpu_features() or ()))[:3], machine=HERE), ""),
    (Requires(cpu_features=("avx999", "sse4.2000")), "needs features that this CPU lacks: avx999, "
     "sse4.2000"),
    (Requires(machine="riscv64"), f"was compiled for riscv64, this is {HERE}"),
    (Requires(device="chip 8", driver="2.9", memory=1 << 30), ""),
    (Requires(driver="2.10.1"), ""),
    (Requires(driver="2.10"), ""),
    (Requires(device="chip 9"), "needs device 'chip 9', found 'chip 7', 'chip 8'"),
    (Requires(driver="2.11"), "needs driver 2.11 or newer, found 2.10.1"),
    (Requires(driver="10"), "needs driver 10 or newer, found 2.10.1"),
    (Requires(device="chip 7", memory=(1 << 30) + 1),
     "needs 1073741825 bytes of memory, the device has 1073741824"),
    (Requires(memory=1 << 46), "needs 70368744177664 bytes of memory, this machine has "),
]  # fmt: skip


@pytest.mark.parametrize("isolated", [False, True], ids=["in process", "isolated"])
def test_what_is_missing_is_named_before_anything_is_loaded(make, isolated, tmp_path):
    for requires, missing in CASES:
        if isolated and not missing:
            continue
        LOADED.clear()
        model = program(make, requires, isolation=Isolation() if isolated else None)
        save_program(model, tmp_path / "m.byoc")
        assert inspect_file(tmp_path / "m.byoc").format == (
            6 if requires != Requires() else 3 if isolated else 2
        )
        loaded = load_program(tmp_path / "m.byoc", lambda name: RUNTIME)
        assert loaded.artifacts[0].requires == requires
        if not missing:
            Session(loaded)
            assert LOADED
            continue
        with pytest.raises(VendorError) as caught:
            Session(loaded)
        assert str(caught.value).startswith(f"vendor 'numpy': segment 'numpy_0' {missing}")
        assert not LOADED


def test_check_tells_without_loading(make, tmp_path):
    LOADED.clear()
    info = VendorInfo("numpy", "1", True, "", "", "cpu")
    for requires, missing in CASES:
        save_program(program(make, requires), tmp_path / "m.byoc")
        findings = check_file(
            tmp_path / "m.byoc",
            lambda name: info,
            lambda name: [["chip 7", "chip 8"], "2.10.1", 1 << 30],
        )
        found = [f for f in findings if f.subject == "segment numpy_0"]
        if requires == Requires():
            assert found == []
            continue
        assert found[0].level == ("problem" if missing else "ok")
        assert missing in found[0].text
    assert not LOADED


def test_one_that_cannot_be_asked(make):
    wanted = "needs device 'x', and its vendor's runtime does not say what there is"
    with pytest.raises(VendorError, match=wanted):
        Session(program(make, Requires(device="x"), PythonRuntime(init)))
    with pytest.raises(VendorError, match="equipment.. of vendor 'numpy' failed: OSError: the dri"):
        Session(program(make, Requires(device="x"), PythonRuntime(init, equipment=broken)))
    with pytest.raises(VendorError, match=r"must return a byoc\.vendor\.Equipment, found 7"):
        Session(program(make, Requires(device="x"), PythonRuntime(init, equipment=lambda: 7)))


def test_a_fallback_runs_instead(kernel_library):
    """What a segment lacks is a fault of loading where there is a fallback."""
    import isolated_vendor

    chain = isolated_vendor.chain(kernel_library, {}, healing=Healing())
    (artifact,) = chain.artifacts
    artifact = dataclasses.replace(artifact, requires=Requires(cpu_features=("avx999",)))
    session = Session(dataclasses.replace(chain, artifacts=(artifact,)))
    x = np.ones(isolated_vendor.SHAPE, "float32")
    assert (session(x) == 2).all()
    (fault,) = session.faults
    assert (fault.kind, fault.replaced) == ("load", True)
    assert "needs features that this CPU lacks: avx999" in fault.message


def test_they_are_shown_in_words():
    requires = Requires(("avx2",), "x86_64", "chip 7", "2.10", 1 << 20)
    assert str(requires) == "avx2, x86_64, chip 7, driver 2.10, 1,048,576 bytes of memory"
    assert str(Requires()) == ""


SEGMENT = Segment("s", "v", (), (), (), (), (), {})


@pytest.mark.parametrize("requires", [
    None, {"device": "x"}, Requires(cpu_features="avx2"), Requires(cpu_features=(1,)),
    Requires(memory=-1), Requires(memory=True), Requires(memory=1.5), Requires(driver=550),
])  # fmt: skip
def test_what_no_file_can_hold_is_refused_at_once(requires):
    with pytest.raises(
        CompileError, match="vendor author: compile.. of 'v', segment 's'.*Requires"
    ):
        check_artifact(Artifact("s", "v", b"", requires=requires), SEGMENT)


def test_in_c(make, tmp_path):
    """A library in the blob, so that no vendor is needed; it is not even loaded."""
    from byoc.vendor import LibraryRuntime

    for requires, missing in (
        (Requires(cpu_features=("avx999",)), "needs features that this CPU lacks: avx999"),
        (Requires(device="x"), "needs device 'x', and its vendor's runtime does not say"),
    ):
        save_program(program(make, requires, LibraryRuntime()), tmp_path / "m.byoc")
        found = run_in_c(tmp_path / "m.byoc", [np.ones(3, "float32")], (3,))
        assert missing in found["error"]
