"""Records as columns, small enough to embed 25,000 ops in a page.

    [{"op": "exp", "cost": 1e-6}, {"op": "exp", "cost": 2e-6}]
        → {"n": 2, "columns": {"op": {"all": "exp"}, "cost": [1e-06, 2e-06]}}

A column is a list, or one of: ``{"all": v}`` the same value everywhere; ``{"from": k}`` k, k + 1,
…; ``{"of": column, "at": [indices]}`` a column of the distinct values; ``{"lengths": [...],
"rows": packed}`` lists of records, end to end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["pack"]


def pack(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return records as columns; floats keep five digits.

    Args:
        records: Dicts of equal keys, values as in JSON.

    """
    names = list(records[0]) if records else []
    columns = {name: _column([record[name] for record in records]) for name in names}
    return {"n": len(records), "columns": columns}


def _column(values: list[Any]) -> Any:
    if len(values) > 1 and all(type(v) is int and v == values[0] + k for k, v in enumerate(values)):
        return {"from": values[0]}
    keys = [
        v if type(v) is str else json.dumps(v) if type(v) is list else (type(v), v) for v in values
    ]
    distinct = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    if len(distinct) == 1:
        return {"all": values[0]}
    if 2 * len(distinct) <= len(values):
        first = dict(zip(reversed(keys), reversed(values), strict=True))
        return {"of": _plain([first[key] for key in distinct]), "at": [distinct[k] for k in keys]}
    return _plain(values)


def _plain(values: list[Any]) -> Any:
    if values and all(type(v) is list for v in values):
        inner = [record for v in values for record in v]
        if inner and all(type(record) is dict for record in inner):
            return {"lengths": [len(v) for v in values], "rows": pack(inner)}
    return [float(f"{v:.5g}") if type(v) is float else v for v in values]
