"""What changed between two locks, in words and as an exit status."""

from dataclasses import replace

import pytest

from byoc import LockError, OptionError
from byoc.placement.lock import Group, Lock
from byoc.placement.lock_diff import diff_locks, parse_percent


def lock(*groups, us=1000.0, borders=0, structure="s", vendors=None, placement="model"):
    """Groups as (place, "kind:name kind:name …"); marks follow the kind."""
    found, at, count = [], 0, 0
    for place, text in groups:
        ops = [word.split(":") for word in text.split()]
        found.append(
            Group(
                place=place,
                ops=tuple(range(at, at + len(ops))),
                kinds=tuple(kind for kind, _ in ops),
                names=tuple(name for _, name in ops),
                marks=tuple(f"{kind:_<4}"[:4] for kind, _ in ops),
                patterns=() if place == "host" else tuple(kind for kind, _ in ops),
                segment="" if place == "host" else f"{place}_{count}",
            )
        )
        at += len(ops)
        count += place != "host"
    return Lock(structure, vendors or {"a": "1"}, placement, tuple(found), us, borders)


OLD = lock(("a", "conv:c1 relu:r1 conv:c2 relu:r2 softmax:s"), us=12100.0)


def test_nothing_changed():
    found = diff_locks(OLD, OLD)
    assert found.summary() == "no change"
    assert found.regression == 0
    assert not found.exceeds(0)


def test_ops_that_moved():
    new = lock(
        ("a", "conv:c1"), ("host", "relu:r1"), ("a", "conv:c2"), ("host", "relu:r2 softmax:s"),
        us=12500.0, borders=3,
    )  # fmt: skip
    found = diff_locks(OLD, new)
    assert found.summary() == (
        "3 ops moved to host, +1 segment, +3 borders, est. +0.4 ms (12.1 → 12.5 ms, +3.3 %)"
    )
    assert found.text().splitlines()[1] == "  a → host: 3 ops: relu (r1), relu (r2), softmax (s)"
    back = diff_locks(new, OLD)
    assert back.summary() == (
        "3 ops moved to a, -1 segment, -3 borders, est. -0.4 ms (12.5 → 12.1 ms, -3.2 %)"
    )


def test_the_gate():
    new = replace(OLD, us=12100.0 * 1.04)
    assert diff_locks(OLD, new).exceeds(3.9)
    assert not diff_locks(OLD, new).exceeds(4)
    assert not diff_locks(new, OLD).exceeds(0)
    blind = replace(OLD, us=None)
    for pair, which in (((blind, OLD), "old"), ((OLD, blind), "new")):
        found = diff_locks(*pair)
        assert found.regression is None
        with pytest.raises(LockError, match=f"the {which} lock has no estimate"):
            found.exceeds(5)


def test_renaming_is_no_change_of_place():
    new = lock(("a", "conv:x relu:y conv:z relu:u softmax:s"), us=12100.0)
    found = diff_locks(OLD, new)
    assert found.moved == ()
    assert found.renamed == 4
    assert found.summary() == "4 ops renamed"


def test_a_changed_model_is_paired_by_name():
    new = lock(
        ("host", "cast:new conv:c1"), ("a", "relu:r1 conv:c2 relu:r2"), us=12100.0, structure="t"
    )
    found = diff_locks(OLD, new)
    assert [(op.name, op.old, op.new, op.before, op.after) for op in found.moved] == [
        ("c1", 0, 1, "a", "host")
    ]
    assert [op.name for op in found.added] == ["new"]
    assert [op.name for op in found.removed] == ["s"]
    assert found.summary() == "1 op moved to host, 1 op added, 1 op removed"
    text = found.text()
    assert "  the models differ" in text
    assert "  (new) → host: 1 op: cast (new)" in text
    assert "  a → (gone): 1 op: softmax (s)" in text


def test_a_changed_model_without_its_names_is_paired_by_what_ops_are():
    new = lock(("a", "conv:1 relu:2 tanh:3 conv:4 relu:5"), ("host", "softmax:6"), us=12100.0,
               structure="t")  # fmt: skip
    found = diff_locks(OLD, new)
    assert [op.kind for op in found.added] == ["tanh"]
    assert found.removed == ()
    assert [(op.kind, op.after) for op in found.moved] == [("softmax", "host")]


def test_names_that_several_ops_share_pair_nothing_wrong():
    old = lock(("a", "relu:n relu:n conv:c"), structure="s")
    new = lock(("a", "relu:n conv:c relu:n relu:n"), structure="t")
    found = diff_locks(old, new)
    assert len(found.added) == 1
    assert found.removed == ()


def test_versions_and_strategies_are_told():
    new = replace(OLD, vendors={"a": "2", "b": "1"}, placement="measured")
    lines = diff_locks(OLD, new).text().splitlines()
    assert lines[1:] == ["  a: 1 → 2", "  b: (none) → 1", "  placement: model → measured"]


def test_json():
    data = diff_locks(OLD, lock(("host", "conv:c1 relu:r1 conv:c2 relu:r2 softmax:s"), us=2.0))
    found = data.to_dict()
    assert found["schema"] == "byoc.lock-diff"
    assert found["version"] == 1
    assert found["segments"] == (1, 0)
    assert found["moved"][0] == {
        "kind": "conv", "name": "c1", "old": 0, "new": 0, "before": "a", "after": "host",
    }  # fmt: skip


def test_large_locks_compare_quickly_enough_to_wait_for():
    names = " ".join(f"relu:{k}" for k in range(20_000))
    others = " ".join(f"relu:n{k}" for k in range(20_001))
    found = diff_locks(lock(("a", names)), lock(("a", others), structure="t"))
    assert len(found.added) == 1


@pytest.mark.parametrize(("text", "value"), [("5%", 5), ("0", 0), (" 2.5 % ", 2.5)])
def test_percentages(text, value):
    assert parse_percent(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "5 ms", "%"])
def test_no_percentages(text):
    with pytest.raises(OptionError, match="expected a percentage such as 5%"):
        parse_percent(text)
