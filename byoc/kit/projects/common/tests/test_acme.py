"""The vendor acme does what it claims. `byoc conformance acme` tells more."""

from __future__ import annotations

from byoc.testing.conformance import conformance


def test_acme_does_what_it_claims() -> None:
    """Every claim, trap and call is right: bronze."""
    report = conformance("acme")
    assert report.reaches("bronze"), report.table()
