"""A small model that is prepared once for all searches."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from byoc.debug.finding import Subject, prepare


@pytest.fixture(scope="session")
def prepared(zoo: Callable[..., Path]) -> Callable[[str, str], Subject]:
    """``prepared("mlp", "dnnl")``: a model of the zoo, partitioned and run on the host."""

    @cache
    def make(model: str, vendor: str) -> Subject:
        options = {"batch": 2, "features": 8, "hidden": 16} if model == "mlp" else {}
        return prepare(zoo(model, **options), [vendor], second_opinion=False)

    return make
