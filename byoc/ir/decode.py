"""From TVM's objects to plain Python: types, dimensions, attributes, constants.

In: objects of TVM, each of whose fields costs a call across the FFI. Out: the ints, strings,
tuples and arrays of `byoc.segment`. One `Decoder` serves one partitioning: it caches by object
handle (an address that is stable because the decoder keeps every object it has seen), so each
object crosses the FFI once. Symbolic variables get one spelling per object: two different
variables both called ``n`` come out as ``n`` and ``n_1``, and characters that are no identifier
become ``_``, so that every dimension is an expression a vendor can evaluate (`byoc.dims`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax
from tvm.ir.prim import expr as prim

from byoc.dims import UNKNOWN, Dim, Expr, Operation, is_name, show
from byoc.segment import Array, Attr, TensorType

__all__ = ["Decoder", "items"]

_item = tvm_ffi.get_global_func("ffi.ArrayGetItem")
_size = tvm_ffi.get_global_func("ffi.ArraySize")


def items(array: Any) -> list[Any]:
    """Return the elements of an FFI array; it takes less than half the time of ``list(array)``."""
    return [_item(array, k) for k in range(_size(array))]


_OPERATORS: dict[type, str] = {
    prim.Add: "+",
    prim.Sub: "-",
    prim.Mul: "*",
    prim.FloorDiv: "//",
    prim.FloorMod: "%",
    # Dimensions are not negative: truncated and floored division agree.
    prim.Div: "//",
    prim.Mod: "%",
    prim.Max: "max",
    prim.Min: "min",
}


def _field_names(cls: type) -> tuple[str, ...]:
    """Reflected fields of an FFI class, base classes included, without the source span."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        info = base.__dict__.get("__tvm_ffi_type_info__")
        for field in (info.fields or ()) if info else ():
            names.setdefault(str(field.name))
    names.pop("span", None)
    return tuple(names)


class Decoder:
    """Decodes TVM's objects and remembers what it decoded, see the module's docstring."""

    def __init__(self) -> None:
        self.symbolic = False
        """True once a type with a symbolic dimension was seen."""
        self._keep: list[Any] = []
        self._types: dict[int, TensorType | None] = {}
        self._shapes: dict[int, tuple[Dim, ...]] = {}
        self._dtypes: dict[str, str] = {}
        self._elements: dict[int, str] = {}
        self._interned: dict[tuple[tuple[Dim, ...], str], TensorType] = {}
        self._symbols: dict[int, Expr] = {}
        self._taken: set[str] = set()
        self._arrays: dict[int, Array] = {}
        self._attr_fields: dict[type, tuple[str, ...]] = {}

    # -- dimensions and types ------------------------------------------------------------------

    def dim(self, expr: Any) -> Dim:
        """Return a dimension as an int, or as an expression over named variables (`byoc.dims`)."""
        if type(expr) is prim.IntImm:
            return int(expr.value)
        if type(expr) is int:
            return expr
        return show(self._expression(expr))

    def dims(self, shape: Any) -> tuple[Dim, ...]:
        """Return the dimensions of a `relax.ShapeExpr`, outermost first."""
        key = shape.__chandle__()
        found = self._shapes.get(key)
        if found is None:
            imm = prim.IntImm
            found = tuple([d.value if type(d) is imm else self.dim(d) for d in items(shape.values)])
            self._shapes[key] = found
            self._keep.append(shape)
        return found

    def _expression(self, expr: Any) -> Expr:
        """A prim expression, its variables under the names they have here."""
        kind = type(expr)
        if kind is prim.IntImm:
            return int(expr.value)
        if kind is tvm.ir.Var:
            return self._symbol(expr)
        if kind in _OPERATORS:
            left, right = self._expression(expr.a), self._expression(expr.b)
            return Operation(_OPERATORS[kind], left, right)
        if kind is prim.Cast:
            return self._expression(expr.value)
        return UNKNOWN

    def _symbol(self, var: Any) -> Expr:
        key = var.__chandle__()
        known = self._symbols.get(key)
        if known is None:
            base = re.sub(r"\W", "_", str(var.name)) or "d"
            base = base if is_name(base) else f"d{base}"  # "2d", "max"
            name, k = base, 0
            while name in self._taken:
                k += 1
                name = f"{base}_{k}"
            self._taken.add(name)
            known = self._symbols[key] = name
            self._keep.append(var)
        return known

    def equate(self, inner: Any, outer: Any) -> None:
        """Spell a called function's symbolic dimensions as its caller spells the argument's.

        Each function has variables of its own, though they stand for the same sizes.

        Args:
            inner: Type of the parameter.
            outer: Type of the argument.

        """
        shapes: list[Any] = [getattr(ty, "shape", None) for ty in (inner, outer)]
        if any(type(shape) is not relax.ShapeExpr for shape in shapes):
            return
        for dim, value in zip(*(items(shape.values) for shape in shapes), strict=False):
            if type(dim) is tvm.ir.Var and dim.__chandle__() not in self._symbols:
                self._symbols[dim.__chandle__()] = self._expression(value)
                self._keep.append(dim)

    def dtype(self, ty: Any) -> str:
        """Return numpy's spelling of a `PrimType` or data type: "float32", "bool"."""
        text = str(ty)
        found = self._dtypes.get(text)
        if found is None:
            raw = text if not hasattr(ty, "dtype") else str(ty.dtype)
            found = {"uint1": "bool", "": UNKNOWN, "void": UNKNOWN}.get(raw, raw)
            self._dtypes[text] = found
        return found

    def _element(self, ty: Any) -> str:
        """The dtype of a TensorType, cached by object: spelling one is a call into TVM."""
        element = ty.dtype
        if element is None:
            return UNKNOWN
        key = element.__chandle__()
        found = self._elements.get(key)
        if found is None:
            found = self._elements[key] = self.dtype(element)
            self._keep.append(element)
        return found

    def tensor_type(self, ty: Any) -> TensorType | None:
        """Return a Relax type as a `TensorType`.

        Args:
            ty: Any type of Relax.

        Returns:
            None when it is no tensor or its rank is unknown. Equal types come out as one object, so
            that callers may compare and hash by identity.

        """
        key = ty.__chandle__()
        if key in self._types:
            return self._types[key]
        found = None
        if type(ty) is relax.TensorType:
            shape = ty.shape
            dims: tuple[Dim, ...] | None = None
            if type(shape) is relax.ShapeExpr:
                dims = self.dims(shape)
            elif ty.ndim >= 0:
                dims = (UNKNOWN,) * ty.ndim
            if dims is not None:
                same = (dims, self._element(ty))
                found = self._interned.get(same)
                if found is None:
                    found = self._interned[same] = TensorType(*same)
                    self.symbolic = self.symbolic or not found.is_static
        self._types[key] = found
        self._keep.append(ty)
        return found

    # -- attributes ----------------------------------------------------------------------------

    def _int_imm(self, value: Any) -> Attr:
        number = int(value.value)
        return bool(number) if self.dtype(value.ty) == "bool" else number

    def attr(self, value: Any) -> Attr:
        """Return one attribute or non-tensor argument as plain Python.

        Args:
            value: An int, string, shape, tuple, map or constant of TVM.

        Returns:
            None, bool, int, float, str, or a tuple of these (maps become tuples of pairs); the text
            of whatever else it is.

        """
        special = _SPECIAL.get(type(value))
        if special is not None:
            return special(self, value)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, tvm_ffi.Map):
            return tuple((self.attr(k), self.attr(v)) for k, v in value.items())
        if isinstance(value, (tvm_ffi.dtype, tvm.DataType)):
            return self.dtype(value)
        if isinstance(value, tvm.ir.Expr):
            return self.dim(value)
        return str(value)

    def attrs(self, attrs: Any) -> dict[str, Attr]:
        """Return the attributes of a call by name; empty when it has none."""
        if attrs is None:
            return {}
        kind = type(attrs)
        if kind is tvm.ir.DictAttrs:
            return {str(k): self.attr(attrs[k]) for k in attrs.keys()}  # noqa: SIM118
        names = self._attr_fields.get(kind)
        if names is None:
            names = self._attr_fields[kind] = _field_names(kind)
        return {name: self.attr(getattr(attrs, name)) for name in names}

    # -- constants -----------------------------------------------------------------------------

    def array(self, const: Any) -> Array:
        """Return the array of a constant.

        Args:
            const: A `relax.Constant`.

        Returns:
            A read-only array over the model's own memory, one for each constant.

        """
        key = const.__chandle__()
        found = self._arrays.get(key)
        if found is None:
            tensor = const.value
            try:
                found = np.from_dlpack(tensor)
            except (RuntimeError, BufferError, TypeError, ValueError):
                found = tensor.numpy()  # dtypes DLPack or numpy do not share: bfloat16, float8
            found.flags.writeable = False
            self._arrays[key] = found
            self._keep.append(const)
        return found


# A table of the module and not of a decoder: bound to one, it would be a cycle that keeps every
# constant of the model until the collector's next full run.
_SPECIAL: dict[type, Callable[[Decoder, Any], Attr]] = {
    type(None): lambda _, v: v,
    bool: lambda _, v: v,
    int: lambda _, v: v,
    float: lambda _, v: v,
    prim.IntImm: Decoder._int_imm,
    prim.FloatImm: lambda _, v: float(v.value),
    tvm_ffi.Array: lambda d, v: tuple([d.attr(x) for x in items(v)]),
    tvm.ir.Tuple: lambda d, v: tuple([d.attr(x) for x in items(v.fields)]),
    relax.ShapeExpr: lambda d, v: d.dims(v),
    tvm.ir.StringImm: lambda _, v: str(v.value),
    tvm.ir.GenericConst: lambda d, v: d.array(v).tolist(),
}
