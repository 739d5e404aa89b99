"""Reads a function's statements in order; branches meet in a value that knows both ("phi").

A name that a branch changes is phi(test, one, other) behind it, so that no paths are enumerated and
none is left out. What a loop changes is a value of its own, unless it appends to a list.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from byoc.adopt.calls import CallReader
from byoc.adopt.reading import taint
from byoc.adopt.source import ClassSource, Function, SourceFile
from byoc.adopt.values import Frame, SourceValue

__all__ = ["FunctionReader", "read_function", "read_layers"]

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow",
           ast.MatMult: "matmul", ast.FloorDiv: "floordiv"}  # fmt: skip

_SHARED = {"input", "attr", "loopvar", "index", "reshape", "transpose"}
"""What others may hold, too: changing it in place changes more than a local name."""


class FunctionReader(CallReader):
    """A reader that reads statements, too."""

    def __init__(
        self,
        file: SourceFile,
        owner: ClassSource | None,
        layers: Mapping[str, SourceValue] | None = None,
    ) -> None:
        super().__init__(file, owner, layers)
        self.started: dict[
            int, SourceValue
        ] = {}  # what a loop collects → the empty list it began as
        self._branches: list[ast.stmt] = []

    def block(self, body: list[ast.stmt], frame: Frame) -> bool:
        """Read statements.

        Returns:
            Whether what comes behind them is reached.
        """
        reached = True
        for node in body:
            if not reached:
                return False  # dead code holds no values
            self.statement = node
            frame.before[id(node)] = dict(frame.names)
            method = getattr(self, f"_do_{type(node).__name__.lower()}", self._do_other)
            reached = method(node, frame) is not False
        return reached

    def _do_other(self, node: ast.stmt, frame: Frame) -> None:
        for child in ast.walk(node):
            if isinstance(child, ast.Name):
                if isinstance(child.ctx, ast.Load):
                    self.sinks.append(self.expression(child, frame))
                else:
                    frame.names[child.id] = self.opaque(expr=None, frame=frame)

    def _do_pass(self, node: ast.Pass, frame: Frame) -> None:
        return

    def _do_import(self, node: ast.Import, frame: Frame) -> None:
        for alias in node.names:
            frame.names[(alias.asname or alias.name).split(".")[0]] = self.opaque(frame=frame)

    def _do_importfrom(self, node: ast.ImportFrom, frame: Frame) -> None:
        for alias in node.names:
            frame.names[alias.asname or alias.name] = self.opaque(frame=frame)

    def _do_functiondef(self, node: ast.FunctionDef, frame: Frame) -> None:
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and child.id in frame.names:
                self.sinks.append(frame.names[child.id])
        frame.names[node.name] = self.opaque(frame=frame)

    def _do_expr(self, node: ast.Expr, frame: Frame) -> None:
        self.sinks.append(self.expression(node.value, frame))

    def _do_return(self, node: ast.Return, frame: Frame) -> bool:
        if node.value is not None:
            value = self.expression(node.value, frame)
            frame.returns.append(value)
            if not frame.depth:
                self.sinks.append(value)
        return False

    def _do_raise(self, node: ast.Raise, frame: Frame) -> bool:
        self._do_other(node, frame)
        return False

    def _do_continue(self, node: ast.Continue, frame: Frame) -> bool:
        return False

    _do_break = _do_continue

    def _do_assert(self, node: ast.Assert, frame: Frame) -> None:
        self.sinks.append(self.expression(node.test, frame))

    def _do_assign(self, node: ast.Assign, frame: Frame) -> None:
        value = self.expression(node.value, frame)
        for target in node.targets:
            self.assign(target, value, frame)

    def _do_annassign(self, node: ast.AnnAssign, frame: Frame) -> None:
        if node.value is not None:
            self.assign(node.target, self.expression(node.value, frame), frame)

    def _do_augassign(self, node: ast.AugAssign, frame: Frame) -> None:
        value = self.expression(node.value, frame)
        if isinstance(node.target, ast.Name) and node.target.id in frame.names:
            old = frame.names[node.target.id]
            op = _BINARY.get(type(node.op))
            frame.names[node.target.id] = (
                self.binary(op, old, value, node, frame)
                if op
                else self.opaque(old, value, frame=frame)
            )
            self.assigned(frame.names[node.target.id], frame)
            holders = sum(held is old for held in frame.before[id(node)].values())
            if old.op in _SHARED or (holders > 1 and old.op != "const"):
                taint(old)
                taint(frame.names[node.target.id])
            return
        self.sinks += [value, self.expression(_loaded(node.target), frame)]
        if isinstance(node.target, (ast.Subscript, ast.Attribute)):
            taint(self.expression(_loaded(node.target.value), frame))

    def assigned(self, value: SourceValue, frame: Frame) -> None:
        """Note that the statement at hand gives a name this value."""
        frame.assigned.setdefault(id(self.statement), []).append(value)

    def assign(self, target: ast.expr, value: SourceValue, frame: Frame) -> None:
        """Give a target its value."""
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
            self.assigned(value, frame)
        elif isinstance(target, (ast.Tuple, ast.List)):
            if any(isinstance(t, ast.Starred) for t in target.elts):
                for child in ast.walk(target):
                    if isinstance(child, ast.Name):
                        frame.names[child.id] = self.opaque(value, frame=frame)
                return
            for number, part in enumerate(target.elts):
                self.assign(part, self._part(value, number, len(target.elts), frame), frame)
        elif isinstance(target, ast.Attribute):
            base = self.expression(target.value, frame)
            if base.op == "self":
                self._store(target.attr, value, frame)
            else:
                self.sinks.append(value)
                taint(base)
        elif isinstance(target, ast.Subscript):
            self.sinks += [value, self.expression(target.slice, frame)]
            taint(self.expression(target.value, frame))

    def _part(self, value: SourceValue, number: int, count: int, frame: Frame) -> SourceValue:
        if value.op in ("tuple", "list") and len(value.args) == count:
            return value.args[number]
        if value.op == "collect" and value.args[2].op == "construct":
            body = value.args[2]  # self.q, self.k, self.v = (nn.Linear(d, d) for _ in range(3))
            return self.make("construct", body.args, body.detail, body.expr, body.frame)
        if value.op == "attr" and value.detail == "shape":
            return self.make("index", (value, SourceValue("const", (), number)), None, None, frame)
        return self.make("item", (value,), number, None, frame)

    def _store(self, name: str, value: SourceValue, frame: Frame) -> None:
        self.sinks.append(value)
        if name in self.stored or self._branches or self.statement is None:
            value = SourceValue("phi", (self.stored.get(name, value), value))
        self.stored[name] = value
        if self.statement is not None:
            self.places[name] = (self.statement, frame)

    def _do_if(self, node: ast.If, frame: Frame) -> bool:
        test = self.expression(node.test, frame)
        self.sinks.append(test)
        names = frame.names
        ends: list[dict[str, SourceValue]] = []
        self._branches.append(node)
        for body in (node.body, node.orelse):
            frame.names = dict(names)
            if self.block(body, frame):
                ends.append(frame.names)
        self._branches.pop()
        self.statement = node
        if not ends:
            frame.names = names
            return False
        if len(ends) == 1:
            frame.names = ends[0]
        else:
            one, other = ends
            frame.names = self._joined(test, one, other, frame)
        return True

    def _joined(
        self,
        test: SourceValue,
        one: dict[str, SourceValue],
        other: dict[str, SourceValue],
        frame: Frame,
    ) -> dict[str, SourceValue]:
        together = {}
        for name in {**one, **other}:
            a, b = one.get(name), other.get(name)
            if a is b and a is not None:
                together[name] = a
            elif a is None or b is None:
                together[name] = self.opaque(a or b or test, frame=frame)
            else:
                together[name] = self.make("phi", (test, a, b), None, None, frame)
        return together

    def _do_for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> None:
        over = self.expression(node.iter, frame)
        self._loop(node, over, frame)

    _do_asyncfor = _do_for

    def _do_while(self, node: ast.While, frame: Frame) -> None:
        self._loop(node, None, frame)

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, over: SourceValue | None, frame: Frame
    ) -> None:
        before = dict(frame.names)
        lists = _appended(node, before)
        changed = {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for name in changed & set(before):
            frame.names[name] = self.make("carried", (before[name],), None, None, frame)
        variable = None
        self._branches.append(node)
        if isinstance(node, ast.While) or over is None:
            assert isinstance(node, ast.While)
            self.sinks.append(self.expression(node.test, frame))
        else:
            variable = self.bind_loop(node.target, over, frame)
        bodies: dict[str, SourceValue] = {}
        for child in node.body:
            name = _append_of(child)
            if name in lists:
                self.statement = child
                frame.before[id(child)] = dict(frame.names)
                assert isinstance(child, ast.Expr) and isinstance(child.value, ast.Call)
                bodies[name] = self.expression(child.value.args[0], frame)
                self.assigned(bodies[name], frame)
            elif not self.block([child], frame):
                bodies = {}
                lists = set()
                break
        self._branches.pop()
        self.statement = node
        after = frame.names
        frame.names = before
        for name in changed:
            held = [v for v in (before.get(name), after.get(name)) if v is not None]
            frame.names[name] = self.opaque(*held, frame=frame)
        for name, body in bodies.items():
            if variable is not None and name in lists and over is not None:
                made = self.make("collect", (over, variable, body), None, node, frame)
                self.started[id(made)] = frame.names[name]
                frame.names[name] = made
            else:
                self.sinks.append(body)
        self._do_rest(node.orelse, frame)

    def _do_rest(self, body: list[ast.stmt], frame: Frame) -> None:
        if body:
            self._branches.append(body[0])
            self.block(body, frame)
            self._branches.pop()

    def _do_with(self, node: ast.With, frame: Frame) -> bool:
        for item in node.items:
            value = self.expression(item.context_expr, frame)
            self.sinks.append(value)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, self.opaque(value, frame=frame), frame)
        outer = self.context
        self.context = (*outer, id(node))
        reached = self.block(node.body, frame)
        self.context = outer
        return reached

    def _do_try(self, node: ast.Try, frame: Frame) -> None:
        self._branches.append(node)
        before = dict(frame.names)
        for body in (node.body, *(h.body for h in node.handlers), node.orelse, node.finalbody):
            self.block(body, frame)
        self._branches.pop()
        for name, value in frame.names.items():
            if before.get(name) is not value:
                frame.names[name] = self.opaque(value, frame=frame)


def _loaded(node: ast.expr) -> ast.expr:
    """The same place, read."""
    copied = ast.parse(ast.unparse(node), mode="eval").body
    return ast.copy_location(copied, node)


def _append_of(node: ast.stmt) -> str:
    """The list that a statement appends one value to, "" for none."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return ""
    func = node.value.func
    if not (
        isinstance(func, ast.Attribute)
        and func.attr == "append"
        and isinstance(func.value, ast.Name)
    ):
        return ""
    return func.value.id if len(node.value.args) == 1 and not node.value.keywords else ""


def _appended(
    node: ast.For | ast.AsyncFor | ast.While, names: Mapping[str, SourceValue]
) -> set[str]:
    """Lists, empty before the loop, that it appends to once a turn and does not use otherwise."""
    found = set()
    for child in node.body:
        name = _append_of(child)
        value = names.get(name)
        if value is None or value.op != "list" or value.args or value.tainted:
            continue
        uses = sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))
        if uses == 1 and sum(held is value for held in names.values()) == 1:
            found.add(name)
    return found


def read_function(
    function: Function,
    defined: ClassSource | SourceFile,
    owner: ClassSource | None = None,
    layers: Mapping[str, SourceValue] | None = None,
) -> tuple[FunctionReader, Frame]:
    """Read one function, its parameters being inputs.

    Args:
        function: Its tree.
        defined: The class, or of a plain function the file, that it is written in.
        owner: The class whose objects ``self`` stands for.
        layers: What that class's ``__init__`` says of each attribute.
    """
    file = defined if isinstance(defined, SourceFile) else defined.file
    reader = FunctionReader(file, owner, layers)
    frame = Frame(function, None if isinstance(defined, SourceFile) else defined, file)
    spec = function.args
    for number, arg in enumerate((*spec.posonlyargs, *spec.args, *spec.kwonlyargs)):
        is_self = number == 0 and owner is not None and arg.arg == "self"
        kind = ast.unparse(arg.annotation) if arg.annotation else ""
        frame.names[arg.arg] = SourceValue(
            "self" if is_self else "input", (), (arg.arg, kind), None, None, frame
        )
    for extra in (spec.vararg, spec.kwarg):
        if extra is not None:
            frame.names[extra.arg] = SourceValue("input", (), (extra.arg, ""), None, None, frame)
    reader.block(function.body, frame)
    return reader, frame


def read_layers(owner: ClassSource) -> FunctionReader:
    """Read a class's ``__init__``, its own or an inherited one.

    Returns:
        The reader: its `stored` says what each attribute is, its `places` where that is written.
    """
    found = owner.method("__init__")
    if found is None:
        return FunctionReader(owner.file, owner)
    return read_function(found[0], found[1], owner)[0]
