"""Relay modules of TVM 0.8 to 0.18: file.py (to a tree), walk.py (to Relax), ops/ (converters)."""

from typing import Any

from byoc.frontends.frontend import Frontend
from byoc.frontends.model import Model
from byoc.frontends.relay.file import SUFFIXES, Params, is_relay, read_relay

__all__ = ["FRONTEND"]


def _read(source: Any, params: Params | None) -> Model:
    model = read_relay(source, params)
    from byoc.frontends.relay.walk import import_relay

    return import_relay(model)


FRONTEND = Frontend("relay", is_relay, _read, suffixes=SUFFIXES, extra="relay", takes_params=True)
