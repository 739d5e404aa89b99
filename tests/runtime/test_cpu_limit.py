"""The CPU quota of control groups: made-up trees of files against what they mean."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import pytest

from byoc.runtime.native import function

AFFINITY = len(os.sched_getaffinity(0))


def write(folder: Path, version: int, share: float | None, period: int = 100_000) -> None:
    """Let a group have a quota, of so many processors."""
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        quota = "max" if share is None else round(share * period)
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text(
            f"{-1 if share is None else round(share * period)}\n"
        )
        (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


def groups(root: Path, text: str) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(text)


def tree(root: Path, version: int, chance: random.Random) -> float:
    """A chain of groups with and without quotas; returns the smallest quota, 0 for none."""
    names = [f"g{i}.slice" for i in range(chance.randint(0, 4))]
    path = "/" + "/".join(names)
    mount = root / "sys/fs/cgroup"
    if version == 1:
        joined = chance.choice(["cpu", "cpu,cpuacct", "cpuacct,cpu"])
        groups(root, f"9:name=systemd:/x\n3:cpuset:/y\n4:{joined}:{path}\n0::/\n")
        mount /= chance.choice(["cpu", joined])
    else:
        groups(root, f"0::{path}\n")
    quotas = []
    for depth in range(len(names) + 1):
        share = chance.choice([None, 0.25, 0.5, 1.0, 1.5, 2.0, 3.75, 64.0])
        if chance.random() < 0.8:  # a container sees only some of the groups
            write(mount.joinpath(*names[:depth]), version, share, chance.choice([10_000, 100_000]))
            quotas += [share] if share is not None else []
    return min(quotas, default=0)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_the_smallest_quota_counts(tmp_path, version, seed):
    expected = tree(tmp_path, version, random.Random(seed))
    assert function("cpu_quota")(str(tmp_path)) == pytest.approx(expected)
    threads = min(AFFINITY, math.ceil(expected)) if expected else AFFINITY
    assert function("usable_processors")(str(tmp_path)) == threads


def test_a_container_that_knows_the_machines_path(tmp_path):
    """Its own group is the mount's root, while /proc tells where the machine keeps it."""
    groups(tmp_path, "0::/system.slice/docker-0a1b.scope\n")
    write(tmp_path / "sys/fs/cgroup", 2, 0.5)
    assert function("cpu_quota")(str(tmp_path)) == 0.5
    assert function("usable_processors")(str(tmp_path)) == 1


@pytest.mark.parametrize(
    "text", ["", "max", "max 100000", "x y", "-5 100000", "0 100000", "100000", "100000 0", "nan 1"]
)
def test_what_is_no_quota_sets_no_limit(tmp_path, text):
    groups(tmp_path, "0::/\nnonsense\n::\n1:cpu\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(text)
    assert function("cpu_quota")(str(tmp_path)) == 0
    assert function("usable_processors")(str(tmp_path)) == AFFINITY


def test_affinity_counts():
    """A mask of one core, in this thread: one thread, whatever the machine has."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert function("usable_processors")("/nowhere") == 1
    finally:
        os.sched_setaffinity(0, before)
