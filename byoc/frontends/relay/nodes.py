"""The nodes of the syntax tree, made while lark reduces the rules of `grammar.lark`."""

# ruff: noqa: D102  one method for each rule of the grammar; lark finds them by name

from __future__ import annotations

import re
from typing import Any

import numpy as np

from byoc.frontends.relay.source import declared_name
from byoc.frontends.relay.syntax import (
    Absent,
    At,
    Call,
    Constant,
    Expr,
    Function,
    Global,
    If,
    LetBinding,
    LetBlock,
    Local,
    Meta,
    OperatorName,
    OtherType,
    Param,
    PlaceError,
    Project,
    RelayTensorType,
    Tuple,
    TupleType,
    Type,
    known_dtype,
    nested,
)
from byoc.support.dtypes import numpy_dtype

__all__ = ["Nodes"]

_NUMBER = re.compile(
    r"(inf|nan|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)([iuf]\d*)?(?:\s*/\*\s*ty=(\w+).*)?", re.S
)
_INFIX = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "<": "less", "<=": "less_equal",
    ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal",
}  # fmt: skip
_NO_DATA_TYPES = "algebraic data types (`match`) have no place in Relax"


class _Attr(tuple[str, Any, At]):
    """An attribute: name, value, place."""


class _Result(tuple[Type]):
    """The type after `->`."""


def _at(token: Any) -> At:
    return At(token.line, token.column)


def _attrs(pairs: list[_Attr]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value, at in pairs:
        if name in found:
            raise PlaceError(at, f"the attribute {name!r} is given twice")
        found[name] = value
    return found


def _number(text: str, at: At, negative: bool = False) -> Any:
    """A literal as a numpy scalar: 1 (int32), 1f, 2i64, 1e-5f16, 1.5 (float64).

    A comment with its type decides where there is no suffix: ``1 /* ty=int64 */``.
    """
    found = _NUMBER.fullmatch(text)
    assert found is not None, "the lexer's NUMBER"
    digits, suffix, comment = found[1], found[2] or "", known_dtype(found[3])
    name = {"i": "int", "u": "uint", "f": "float"}.get(suffix[:1], "")
    dtype = f"{name}{suffix[1:] or 32}" if suffix else ""
    whole = digits.isdecimal()
    if not dtype:
        dtype = comment or ("int32" if whole else "float64")
    if known_dtype(dtype) is None:
        raise PlaceError(at, f"{text!r} is of no dtype that byoc has")
    kind = numpy_dtype(dtype)
    if kind.kind in "iu":
        if not whole:
            raise PlaceError(at, f"{text!r} is no whole number")
        if len(digits) > 20:
            raise PlaceError(at, f"{digits[:20]}… does not fit {dtype}")
        value = -int(digits) if negative else int(digits)
        limits = np.iinfo(kind)
        if not suffix and not comment and not limits.min <= value <= limits.max:
            kind = np.dtype(np.int64)
            limits = np.iinfo(kind)
        if not limits.min <= value <= limits.max:
            raise PlaceError(at, f"{value} does not fit {kind}")
        return kind.type(value)
    with np.errstate(over="ignore"):
        real = kind.type(-float(digits) if negative else float(digits))
    if np.isinf(real) and digits != "inf":
        raise PlaceError(at, f"{digits[:40]} does not fit {dtype}")
    return real


class Nodes:
    """One method for each rule of the grammar; arguments are the rule's parts."""

    # -- modules and functions

    def start(self, parts: list[Any]) -> list[Any]:
        return [("main", p) if isinstance(p, Function) else p for p in parts if p is not None]

    def script(self, parts: list[Any]) -> Function:
        """An expression that stands alone is a function of its free variables."""
        at = parts[0].at
        if len(parts) == 1 and isinstance(parts[0], Function):
            return parts[0]
        body = self.block([None, *(p for p in parts if not isinstance(p, Param))], at)
        return self._make_function([*(p for p in parts if isinstance(p, Param)), body], at)

    def free_var(self, parts: list[Any]) -> Param:
        return self.param(parts[1:])

    def data_type(self, parts: list[Any]) -> None:
        """Values of such types are refused where they are made or matched, not their definition."""

    def definition(self, parts: list[Any]) -> tuple[str, Function]:
        _, name, *rest = parts
        return str(name)[1:], self._make_function(rest, _at(name))

    def function(self, parts: list[Any]) -> Function:
        return self._make_function(parts[1:], _at(parts[0]))

    def _make_function(self, parts: list[Any], at: At) -> Function:
        params = tuple(p for p in parts if isinstance(p, Param))
        seen: set[str] = set()
        for param in params:
            if param.name in seen:
                raise PlaceError(param.at, f"two parameters are called {param.label}")
            seen.add(param.name)
        attrs = _attrs([p for p in parts if isinstance(p, _Attr)])
        body = parts[-1]
        return Function(params, body, attrs, at, nested([body], at))

    def param(self, parts: list[Any]) -> Param:
        token, rest = parts[0], [p for p in parts[1:] if not isinstance(p, (_Attr, str))]
        name = declared_name(token)
        return Param(name, rest[0] if rest else None, _at(token), name)

    def result(self, parts: list[Any]) -> _Result:
        return _Result((parts[0],))

    def block(self, parts: list[Any], at: At | None = None) -> LetBlock:
        bindings = tuple(p for p in parts[1:-1] if isinstance(p, LetBinding))
        seen: dict[str, At] = {}
        for binding in bindings:
            if binding.once and binding.name in seen:
                raise PlaceError(
                    binding.at, f"{binding.label} is bound twice, first at {seen[binding.name]}"
                )
            seen[binding.name] = binding.at
        at = at or _at(parts[0])
        depth = nested([*(b.value for b in bindings), parts[-1]], at)
        return LetBlock(bindings, parts[-1], at, depth)

    def let(self, parts: list[Any]) -> LetBinding:
        name = declared_name(parts[1])
        return LetBinding(name, parts[-1], _at(parts[1]), name, once=False)

    def bind(self, parts: list[Any]) -> LetBinding:
        name = declared_name(parts[0])
        return LetBinding(name, parts[-1], _at(parts[0]), name)

    def run(self, parts: list[Any]) -> LetBinding:
        return LetBinding("", parts[0], parts[0].at, "", once=False)

    # -- expressions

    def local(self, parts: list[Any]) -> Local:
        return Local(declared_name(parts[0]), _at(parts[0]))

    def global_name(self, parts: list[Any]) -> Global:
        return Global(str(parts[0])[1:], _at(parts[0]))

    def operator(self, parts: list[Any]) -> Expr:
        name, at = str(parts[0]), _at(parts[0])
        if name in ("True", "False"):
            return Constant(np.array(name == "True"), at)
        return OperatorName(name, at)

    def number(self, parts: list[Any]) -> Constant:
        at = _at(parts[0])
        return Constant(np.asarray(_number(str(parts[0]), at)), at)

    def meta(self, parts: list[Any]) -> Meta:
        key, index = re.findall(r"\[([^\]]*)\]", parts[0])
        at = _at(parts[0])
        if len(index) > 9:
            raise PlaceError(at, f"meta[{key}] has no entry {index[:9]}…")
        return Meta(key, int(index), at)

    def branch(self, parts: list[Any]) -> If:
        token, condition, then, _, other = parts
        at = _at(token)
        if isinstance(other, If):
            other = LetBlock((), other, other.at, nested([other], other.at))
        return If(condition, then, other, at, nested([condition, then, other], at))

    def match(self, parts: list[Any]) -> Absent:
        return Absent(_NO_DATA_TYPES, _at(parts[0]))

    def pattern(self, parts: list[Any]) -> None:
        """Belongs to a `match`, which is refused where it is reached."""

    def paren(self, parts: list[Any]) -> Expr:
        if len(parts) == 2:
            inner: Expr = parts[1]
            return inner
        return self.block(parts)

    def empty_tuple(self, parts: list[Any]) -> Tuple:
        return Tuple((), _at(parts[0]), 1)

    def tuple_of(self, parts: list[Any]) -> Tuple:
        at = _at(parts[0])
        return Tuple(tuple(parts[1:]), at, nested(parts[1:], at))

    def project(self, parts: list[Any]) -> Project:
        value, index = parts
        at = _at(index)
        if len(index) > 9:
            raise PlaceError(at, f"no tuple has a field {str(index)[1:10]}…")
        return Project(value, int(index[1:]), at, nested([value], at))

    def call(self, parts: list[Any]) -> Expr:
        callee = parts[0]
        args = tuple(p for p in parts[1:] if not isinstance(p, _Attr))
        attrs = _attrs([p for p in parts[1:] if isinstance(p, _Attr)])
        dtype = known_dtype(callee.name) if isinstance(callee, OperatorName) else None
        if dtype and len(args) == 1 and isinstance(args[0], Constant) and not attrs:
            with np.errstate(all="ignore"):
                return Constant(args[0].array.astype(numpy_dtype(dtype)), callee.at)
        return Call(callee, args, attrs, callee.at, nested([callee, *args], callee.at))

    def infix(self, parts: list[Any]) -> Call:
        left, token, right = parts
        at = _at(token)
        return Call(
            OperatorName(_INFIX[str(token)], at), (left, right), {}, at, nested([left, right], at)
        )

    def prefix(self, parts: list[Any]) -> Expr:
        token, value = parts
        at = _at(token)
        if token == "+":
            return value  # type: ignore[no-any-return]
        if isinstance(value, Constant) and value.array.dtype.kind in "if":
            with np.errstate(over="ignore"):
                return Constant(-value.array, at)
        return Call(OperatorName("negative", at), (value,), {}, at, nested([value], at))

    # -- attributes

    def attr(self, parts: list[Any]) -> _Attr:
        return _Attr((str(parts[0]), parts[1], _at(parts[0])))

    def attr_number(self, parts: list[Any]) -> Any:
        token = parts[-1]
        negative = len(parts) == 2 and parts[0] == "-"
        found = _NUMBER.fullmatch(str(token))
        assert found is not None, "the lexer's NUMBER"
        digits, suffix = found[1], found[2] or ""
        if suffix.startswith("f") or not (suffix or digits.isdecimal()):
            # TVM keeps these in double precision and prints an f behind them all the same.
            return -float(digits) if negative else float(digits)
        return _number(str(token), _at(token), negative).item()

    def attr_text(self, parts: list[Any]) -> str:
        return re.sub(r"\\(.)", r"\1", declared_name(parts[0])[1:-1])

    def attr_word(self, parts: list[Any]) -> Any:
        word = str(parts[0])
        return {"True": True, "False": False, "None": None, "nullptr": None}.get(word, word)

    def attr_meta(self, parts: list[Any]) -> Meta:
        return self.meta(parts)

    def attr_list(self, parts: list[Any]) -> list[Any]:
        return [p for p in parts if getattr(p, "type", "") != "LPAR"]

    def attr_entry(self, parts: list[Any]) -> _Attr:
        return _Attr((self.attr_text(parts), parts[1], _at(parts[0])))

    def attr_dict(self, parts: list[Any]) -> dict[str, Any]:
        return _attrs(parts[1:])

    def attr_set(self, parts: list[Any]) -> list[Any]:
        return list(parts[1:])

    def attr_object(self, parts: list[Any]) -> dict[str, Any]:
        """Targets and devices, ``Target(id=…, kind='llvm')``: nothing that a result depends on."""
        return _attrs(parts[1:])

    # -- types

    def type_name(self, parts: list[Any]) -> Type:
        name = str(parts[0])
        if name == "_":
            return None
        dtype = known_dtype(name)
        return OtherType(name) if dtype is None else RelayTensorType((), dtype)

    def type_number(self, parts: list[Any]) -> Any:
        value = _number(str(parts[0]), _at(parts[0]))
        if not isinstance(value, np.integer):
            raise PlaceError(_at(parts[0]), f"a dimension of {parts[0]}")
        return int(value)

    def type_any(self, parts: list[Any]) -> Any:
        return "?"

    def type_tuple(self, parts: list[Any]) -> Any:
        fields = tuple(parts[1:])
        if fields and all(isinstance(f, int) or f == "?" for f in fields):
            return fields
        if any(isinstance(f, (int, str, tuple)) for f in fields):
            raise PlaceError(_at(parts[0]), "a tuple of dimensions and types")
        return TupleType(fields)

    def type_of(self, parts: list[Any]) -> Type:
        token, *given = parts
        if token != "Tensor":
            return OtherType(str(token))
        at = _at(token)
        shape = () if given[0] == TupleType(()) else given[0]
        if len(given) != 2 or not isinstance(shape, tuple):
            raise PlaceError(at, "expected Tensor[(dimensions), dtype]")
        if not isinstance(given[1], RelayTensorType) or given[1].shape:
            raise PlaceError(at, "the dtype of this tensor type is none that byoc has")
        return RelayTensorType(tuple(None if d == "?" else d for d in shape), given[1].dtype)

    def type_function(self, parts: list[Any]) -> Type:
        return OtherType("fn")

    def type_applied(self, parts: list[Any]) -> Any:
        return "?" if parts[0] == "Any" and len(parts) == 1 else OtherType(f"{parts[0]}(…)")

    def type_meta(self, parts: list[Any]) -> Any:
        """A dimension that TVM computes from others: of any size, as far as a text can tell."""
        return "?" if ".Type" not in parts[0] else OtherType(str(parts[0]))
