"""A sample of the damaged files; `relay_fuzz.py --count 5000` reads them all."""

from __future__ import annotations

import collections

import pytest
import relay_fuzz


@pytest.fixture(scope="module")
def pool():
    return relay_fuzz.seeds()


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_damaged_files_are_read_or_refused_with_a_place(first, pool, tmp_path):
    found = collections.Counter()
    for number in range(first, first + 20):
        _, content, params = relay_fuzz.damaged(number, pool)
        found[relay_fuzz.outcome(tmp_path, content, params)] += 1
    assert found["refused"], "damage that nobody notices is none"


def test_undamaged_files_are_read(pool, tmp_path):
    for kind, text, params in pool[-5:]:
        assert relay_fuzz.outcome(tmp_path, text.encode(), params) == "read", kind


def test_a_refusal_without_a_place_would_be_noticed(tmp_path, monkeypatch):
    from byoc.errors import ModelError

    def refuse(*_):
        raise ModelError("no")

    monkeypatch.setattr("byoc.frontends.read_relay", refuse)
    with pytest.raises(AssertionError, match="without a place"):
        relay_fuzz.outcome(tmp_path, b"", None)


@pytest.mark.slow
def test_five_thousand_damaged_files():
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, relay_fuzz.__file__, "--count", "5000"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
