"""Relay modules (TVM 0.8 to 0.18) → a Relax function with source names.

importer.py     `read_relay`: text or JSON by content, parameters
grammar.lark, parser.py   the text format
graph.py, json_reader.py  the node graph of `tvm.ir.save_json`, and the module in it
arrays.py       tensors and `.params` files
syntax.py       the tree that both readers deliver
build.py        evaluates it: functions inlined, operators in Relax
ops/            operators, by family
"""

from byoc.frontends.relay.importer import (
    Params,
    RelayModel,
    import_relay,
    is_relay,
    looks_like_relay,
    placement_rules,
    read_relay,
)

__all__ = [
    "Params",
    "RelayModel",
    "import_relay",
    "is_relay",
    "looks_like_relay",
    "placement_rules",
    "read_relay",
]
