"""Reads a function into values: calls of operators, layers, and functions whose source is there.

A call of the class's own method, of ``super()`` or of a function of the module is read as the body
of what is called; one that is recursive, decorated or long is a value of which nothing is known.
"""

from __future__ import annotations

import ast
import math
from abc import abstractmethod
from collections.abc import Mapping

from byoc.adopt.operators import LAYERS, SIGNATURES, arrange, method_name, operator_name
from byoc.adopt.reading import Reader, root_name, taint
from byoc.adopt.source import ClassSource, Function, SourceFile
from byoc.adopt.values import Frame, SourceValue, constant

__all__ = ["CallReader"]

_DEEPEST = 3  # calls within calls that are read
_LONGEST = 60  # lines of a function that is read where it is called
_PYTHON = {"abs", "enumerate", "float", "int", "len", "list", "max", "min", "range", "reversed",
           "slice", "sum", "tuple", "zip"}  # fmt: skip
_CHANGING = {"append", "extend", "insert", "update", "pop"}


class CallReader(Reader):
    """A `Reader` that reads calls, too."""

    def __init__(
        self,
        file: SourceFile,
        owner: ClassSource | None,
        layers: Mapping[str, SourceValue] | None = None,
    ) -> None:
        super().__init__(file, owner, layers)
        self._calls: list[Function] = []

    def _call(self, node: ast.Call, frame: Frame) -> SourceValue:
        keywords = {
            k.arg: self.expression(k.value, frame) for k in node.keywords if k.arg is not None
        }
        more = [self.expression(k.value, frame) for k in node.keywords if k.arg is None]
        args = [self.expression(a, frame) for a in node.args]
        starred = bool(more) or any(a.op == "star" for a in args)
        func = node.func
        full = None
        if isinstance(func, (ast.Name, ast.Attribute)) and root_name(func) not in frame.names:
            full = frame.file.qualified(func)
        if full is not None and not starred:
            return self._function(full, args, keywords, node, frame)
        if isinstance(func, ast.Name) and func.id not in frame.names and not starred:
            return self._plain(func.id, args, keywords, node, frame)
        if isinstance(func, ast.Attribute):
            if _is_super(func.value):
                return self._super(func.attr, args, keywords, starred, node, frame)
            base = self.expression(func.value, frame)
            if base.op == "self" and not starred:
                return self._own(func.attr, args, keywords, node, frame)
            if base.op not in ("self", "name"):
                op = method_name(func.attr)
                if op is not None and not starred:
                    return self.operation(op, [base, *args], keywords, node, frame)
                return self._method(func.attr, base, args, keywords, more, node, frame)
            callee = (
                base if base.op == "name" else self.make("attr", (base,), func.attr, func, frame)
            )
        else:
            callee = self.expression(func, frame)
        if callee.op == "loopvar" and not starred and not keywords:
            return self.make("layer", (callee, *args), "", node, frame)
        made = self._partial(callee, args, keywords, node, frame)
        if made is not None:
            return made
        return self._unknown(callee, [*args, *keywords.values(), *more], node, frame)

    def _unknown(
        self, callee: SourceValue, args: list[SourceValue], node: ast.Call, frame: Frame
    ) -> SourceValue:
        return self.make("call", (callee, *args), tuple(k.arg for k in node.keywords), node, frame)

    def _partial(
        self,
        callee: SourceValue,
        args: list[SourceValue],
        keywords: dict[str, SourceValue],
        node: ast.Call,
        frame: Frame,
    ) -> SourceValue | None:
        """A local name that stands for a constructor, or for one with some arguments given."""
        if callee.op == "name" and not callee.detail.startswith("<"):
            return self._function(callee.detail, args, keywords, node, frame)
        if (
            callee.op == "phi"
            or callee.op != "construct"
            or callee.detail[0] != "functools.partial"
        ):
            return None
        names = callee.detail[1]
        plain = len(callee.args) - len(names)
        first, *given = callee.args[:plain]
        if first.op != "name":
            return None
        together = {**dict(zip(names, callee.args[plain:], strict=True)), **keywords}
        return self._function(first.detail, [*given, *args], together, node, frame)

    def _method(
        self, name: str, base: SourceValue, args: list[SourceValue],
        keywords: dict[str, SourceValue], more: list[SourceValue], node: ast.Call, frame: Frame,
    ) -> SourceValue:  # fmt: skip
        if name in ("size",) and len(args) == 1:
            return self.make(
                "index",
                (self.make("attr", (base,), "shape", None, frame), args[0]),
                None,
                node,
                frame,
            )
        if name == "size" and not args:
            return self.make("attr", (base,), "shape", node, frame)
        if name in ("t", "bool") and not args:
            return self.make(name, (base,), None, node, frame)
        if (name.endswith("_") and not name.startswith("_")) or name in _CHANGING:
            taint(base)
        detail = (name, tuple(keywords))
        made = self.make("method", (base, *args, *keywords.values(), *more), detail, node, frame)
        made.tainted = base.tainted
        return made

    def _function(
        self,
        full: str,
        args: list[SourceValue],
        keywords: dict[str, SourceValue],
        node: ast.Call,
        frame: Frame,
    ) -> SourceValue:
        if "out" in keywords:
            taint(keywords["out"])
            return self.opaque(*args, *keywords.values(), expr=node, frame=frame)
        op = operator_name(full)
        if op is not None:
            if (
                op == "einsum"
                and args
                and args[0].op == "const"
                and isinstance(args[0].detail, str)
            ):
                equation = constant(args[0].detail.replace(" ", ""))
                return self.make("einsum", (equation, *args[1:]), None, node, frame)
            return self.operation(op, args, keywords, node, frame)
        if full in ("math.sqrt", "numpy.sqrt") and len(args) == 1:
            if args[0].is_number and args[0].detail >= 0:
                return constant(math.sqrt(args[0].detail), node)
            return self.make("sqrt", tuple(args), None, node, frame)
        if full == "torch.nn.Parameter" or full[0].islower() or full.startswith("torch."):
            names = tuple(keywords)
            found = arrange(full, args, keywords) if full in SIGNATURES else None
            if found is not None:
                return self.make("construct", found[0], (full, found[1]), node, frame)
            return self.make("construct", (*args, *keywords.values()), (full, names), node, frame)
        return self._unknown(
            self.make("name", (), full, node.func, frame), [*args, *keywords.values()], node, frame
        )

    def _plain(
        self,
        name: str,
        args: list[SourceValue],
        keywords: dict[str, SourceValue],
        node: ast.Call,
        frame: Frame,
    ) -> SourceValue:
        """A function of this module, or one that Python has."""
        file = frame.file
        if name in file.functions:
            made = self.inline(file.functions[name], None, file, args, keywords, frame)
            if made is not None:
                return made
        elif name not in file.classes:
            if name == "float" and len(args) == 1 and args[0].op == "const":
                try:
                    return self.number(float(args[0].detail), node, frame)
                except (TypeError, ValueError):
                    return self.opaque(expr=node, frame=frame)
            if name == "slice" and len(args) == 2:
                return self.make("slice", (*args, constant(None)), None, node, frame)
            if name in _PYTHON and not keywords:
                return self.make(f"python.{name}", tuple(args), None, node, frame)
        return self._unknown(
            self.make("name", (), f"<{name}>", node.func, frame),
            [*args, *keywords.values()],
            node,
            frame,
        )

    def _own(
        self,
        name: str,
        args: list[SourceValue],
        keywords: dict[str, SourceValue],
        node: ast.Call,
        frame: Frame,
    ) -> SourceValue:
        """``self.name(…)``: a method is read, a layer is a value."""
        found = self.owner.method(name) if self.owner else None
        if found is not None:
            made = self.inline(
                found[0], found[1], found[1].file, [frame.names["self"], *args], keywords, frame
            )
            if made is not None:
                return made
            return self._unknown(
                self.make("attr", (frame.names["self"],), name, node.func, frame),
                [*args, *keywords.values()],
                node,
                frame,
            )
        layer = self.layers.get(name)
        if layer is not None and layer.op == "construct":
            made = self._stateless(name, layer, args, keywords, node, frame)
            if made is not None:
                return made
        detail = name if not keywords else (name, tuple(keywords))
        return self.make("layer", (*args, *keywords.values()), detail, node, frame)

    def _stateless(
        self,
        name: str,
        layer: SourceValue,
        args: list[SourceValue],
        keywords: dict[str, SourceValue],
        node: ast.Call,
        frame: Frame,
    ) -> SourceValue | None:
        full, names = layer.detail
        if full not in LAYERS or len(args) != 1 or keywords:
            return None
        op = LAYERS[full](name)
        plain = list(layer.args[: len(layer.args) - len(names)])
        given = dict(zip(names, layer.args[len(plain) :], strict=True))
        given.pop("inplace", None)
        if op == "dropout":
            me = frame.names["self"]
            p = self.make("attr", (self.make("attr", (me,), name, None, frame),), "p", None, frame)
            training = self.make("attr", (me,), "training", None, frame)
            return self.operation(op, [args[0], p, training], {}, node, frame)
        if any(not v.is_number and v.op != "const" for v in (*plain, *given.values())):
            return None
        return self.operation(op, [args[0], *plain], given, node, frame)

    def _super(
        self,
        name: str,
        args: list[SourceValue],
        keywords: dict[str, SourceValue],
        starred: bool,
        node: ast.Call,
        frame: Frame,
    ) -> SourceValue:
        found = self.owner.method(name, after=frame.owner) if self.owner and frame.owner else None
        if found is not None and not starred:
            made = self.inline(
                found[0], found[1], found[1].file, [frame.names["self"], *args], keywords, frame
            )
            if made is not None:
                return made
        return self.opaque(*args, *keywords.values(), expr=node, frame=frame)

    def inline(
        self, function: Function, owner: ClassSource | None, file: SourceFile,
        args: list[SourceValue], keywords: Mapping[str, SourceValue], caller: Frame,
    ) -> SourceValue | None:  # fmt: skip
        """Return what a function gives for these arguments; None where it cannot be read."""
        if function in self._calls or caller.depth >= _DEEPEST:
            return None
        if (function.end_lineno or 0) - function.lineno > _LONGEST:
            return None
        decorators = {d.id for d in function.decorator_list if isinstance(d, ast.Name)}
        if function.decorator_list and decorators != {"staticmethod"}:
            return None
        if "staticmethod" in decorators:
            args = args[1:]
        frame = Frame(function, owner, file, depth=caller.depth + 1)
        if not self._bind(frame, args, keywords):
            return None
        statement = self.statement
        self._calls.append(function)
        try:
            self.block(function.body, frame)
        finally:
            self._calls.pop()
            self.statement = statement
        if not frame.returns:
            return constant(None)
        if len(frame.returns) == 1 and isinstance(function.body[-1], ast.Return):
            return frame.returns[0]
        return self.opaque(*frame.returns)

    def _bind(
        self, frame: Frame, args: list[SourceValue], keywords: Mapping[str, SourceValue]
    ) -> bool:
        spec = frame.function.args
        if spec.vararg or spec.kwarg or spec.posonlyargs:
            return False
        names = [a.arg for a in spec.args]
        if len(args) > len(names) or any(a.op == "star" for a in args):
            return False
        frame.names.update(zip(names, args, strict=False))
        frame.names.update(keywords)
        defaults = dict(zip(reversed(names), reversed(spec.defaults), strict=False))
        defaults |= {a.arg: d for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d}
        for name in (*names, *(a.arg for a in spec.kwonlyargs)):
            if name not in frame.names:
                if name not in defaults:
                    return False
                frame.names[name] = self.expression(
                    defaults[name], Frame(frame.function, None, frame.file)
                )
        return set(keywords) <= {*names, *(a.arg for a in spec.kwonlyargs)}

    @abstractmethod
    def block(self, body: list[ast.stmt], frame: Frame) -> bool:
        """Read statements; `byoc.adopt.statements` says how."""


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )
