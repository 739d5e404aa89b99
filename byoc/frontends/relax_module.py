"""Relax modules as a format of models: the module is the model, only its form is changed."""

from __future__ import annotations

from typing import Any

import tvm

from byoc.errors import ModelError
from byoc.frontends.frontend import Frontend
from byoc.frontends.model import Model
from byoc.frontends.normalise.pipeline import normalise_module

__all__ = ["FRONTEND"]


def _accepts(source: Any) -> bool:
    return isinstance(source, tvm.IRModule)


def _read(mod: tvm.IRModule, params: None) -> Model:
    names = [v.name_hint for v in mod.get_global_vars()]
    if "main" not in names:
        raise ModelError(
            f"the IRModule has no function 'main'; it has {', '.join(names) or 'none'}"
        )
    main = mod["main"]
    inputs = tuple(p.name for p in main.params)
    count = len(main.ret_ty.fields) if isinstance(main.ret_ty, tvm.relax.TupleType) else 1
    outputs = ("output",) if count == 1 else tuple(f"output_{i}" for i in range(count))
    return Model(normalise_module(mod), "model", inputs, outputs, "relax")


FRONTEND = Frontend("relax", _accepts, _read)
