"""Relay text → syntax tree.

lark's LALR(1) parser calls `Nodes` while it reduces rules: no second tree is built, nothing
recurses, and time and memory grow linearly with the text. Every message names line and column.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import Any

from byoc.errors import ModelError
from byoc.frontends.relay.graph import read_metadata
from byoc.frontends.relay.nodes import Nodes
from byoc.frontends.relay.source import declared_name, ready
from byoc.frontends.relay.syntax import At, Function, Module, PlaceError

__all__ = ["parse_text"]

MAX_TEXT = 64 << 20
"""Characters of program text; the constants of the metadata section do not count."""

_METADATA = re.compile(r"^[ \t]*#\[metadata\][ \t\r]*$", re.M)
_VERSION = re.compile(r"#\[version\s*=\s*\"([^\"\n]*)\"\s*\]|^\s*v(0\.0\.4)\b", re.M)
_FORMATS = {"0.0.4": "0.6", "0.0.5": ""}
"""Version of the format → the TVM that printed it, where that is one."""
_TOKENS = {
    "LOCAL": "a variable %x", "GLOBAL": "a function @f", "ID": "a name", "NUMBER": "a number",
    "STRING": "a text", "META": "meta[…][…]", "LPAR": "'('", "RPAR": "')'", "LBRACE": "'{'",
    "RBRACE": "'}'", "LSQB": "'['", "RSQB": "']'", "COMMA": "','", "SEMICOLON": "';'",
    "COLON": "':'", "EQUAL": "'='", "PROJECT": "'.0'", "QMARK": "'?'", "DEF": "'def'",
    "FN": "'fn'", "LET": "'let'", "IF": "'if'", "ELSE": "'else'", "$END": "the end of the file",
    "TYPE": "'type'", "EXTERN": "'extern'", "MATCH": "'match'", "FREE_VAR": "'free_var'",
    "POINTER": "an address", "COMPARE": "a comparison", "EQUALS": "a comparison",
    "SIGN": "'+' or '-'", "TO": "'=>'", "ARROW": "'->'", "SCALE": "'*' or '/'",
}  # fmt: skip


def parse_text(text: str, where: str) -> Module:
    """The module that a text in Relay's format 0.0.4 or 0.0.5 holds; a lone function or expression
    is its `main`.

    Args:
        text: The text.
        where: The file, as messages begin.

    Raises:
        ModelError: As ``where:line:column: what``.
    """
    try:
        section = _METADATA.search(text)
        program = text if section is None else text[: section.start()]
        version = _check_head(program)
        functions = _functions(_parse(ready(program)))
        if section is None:
            return Module(functions, where, version=version)
        first = text.count("\n", 0, section.end())
        metadata, writer = read_metadata(text[section.end() :], where, first)
    except PlaceError as error:
        raise error.at_file(where) from None
    return Module(functions, where, metadata, writer or version)


def _check_head(program: str) -> str:
    """The version of TVM that the head tells, "" where it tells none."""
    found = _VERSION.search(program[:4096])
    version = "0.0.5" if found is None else found[1] or found[2]
    if found is not None and version not in _FORMATS:
        line = program.count("\n", 0, found.start()) + 1
        at = At(line, found.start() - program.rfind("\n", 0, found.start()))
        raise PlaceError(
            at, f"Relay text of version {version!r}; byoc reads 0.0.5 (TVM 0.7 to 0.18) and 0.0.4"
        )
    if len(program) > MAX_TEXT:
        raise PlaceError(
            At(1, 1),
            f"{len(program)} characters of program text, byoc reads up to {MAX_TEXT}; constants "
            f"belong into the #[metadata] section or a .params file",
        )
    return _FORMATS[version]


def _functions(items: list[Any]) -> dict[str, Function]:
    functions: dict[str, Function] = {}
    for name, function in items:
        if name in functions:
            raise PlaceError(
                function.at, f"@{name} is defined twice, first at {functions[name].at}"
            )
        functions[name] = function
    if not functions:
        raise PlaceError(At(1, 1), "expected `def @main(…) { … }` or `fn (…) { … }`, found none")
    return functions


def _parse(program: str) -> list[Any]:
    grammar = _grammar()
    from lark import exceptions

    try:
        items: list[Any] = grammar.parse(program)
    except exceptions.VisitError as error:
        if isinstance(error.orig_exc, PlaceError):
            raise error.orig_exc from None
        raise
    except exceptions.UnexpectedCharacters as error:
        start = error.pos_in_stream or 0
        found = program[start : start + 1]
        raise PlaceError(At(error.line, error.column), f"unexpected {found!r}") from None
    except exceptions.UnexpectedToken as error:
        raise _unexpected(program, error) from None
    return items


def _unexpected(program: str, error: Any) -> PlaceError:
    token = error.token
    if token.type == "$END":
        lines = program.rstrip().split("\n")
        at, found = At(len(lines), len(lines[-1]) + 1), "the end of the program"
    else:
        at, found = At(token.line, token.column), repr(declared_name(str(token))[:40])
    expected = sorted({_TOKENS.get(name, name) for name in error.expected})
    text = f"expected {' or '.join(expected)}, found {found}"
    return PlaceError(at, text)


@lru_cache(maxsize=1)
def _grammar() -> Any:
    """The parser, made once a process (0.2 s)."""
    try:
        import lark
    except ImportError:
        raise ModelError(
            "reading Relay text needs the package lark: pip install 'tvm-byoc[relay]'"
        ) from None
    text = resources.files("byoc.frontends.relay").joinpath("grammar.lark").read_text("utf-8")
    return lark.Lark(
        text, parser="lalr", lexer="basic", maybe_placeholders=False, transformer=Nodes()
    )
