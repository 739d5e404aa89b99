"""Whether a vendor's options do anything, and nothing wrong.

Each option is given its other legal values: results stay right. An option that nothing reads
(neither `choose`, `compile`, nor the `init` of a Python runtime) does nothing: that is told.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pydantic

from byoc.contract_checks import takes_context
from byoc.testing.conformance.modes import compiled, wrong_run
from byoc.testing.conformance.traps import Trap
from byoc.vendor import PythonRuntime, Vendor

__all__ = ["other_values", "wrong_options"]


def other_values(model: type[pydantic.BaseModel]) -> Iterator[tuple[str, Any]]:
    """Yield each option with other legal values than its default.

    Args:
        model: The vendor's options.
    """
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        for value in _values(field.annotation, default):
            try:
                made = model.model_validate({name: value})
            except pydantic.ValidationError:
                continue
            if getattr(made, name) != default:
                yield name, value


def _values(annotation: Any, default: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [member.value for member in annotation]
    if annotation is bool:
        return [not default]
    if annotation in (int, float) and isinstance(default, (int, float)):
        return [default + 1]
    return [v for part in get_args(annotation) if part is not type(None)
            for v in _values(part, default)]  # fmt: skip


def wrong_options(vendor: Vendor, options: Mapping[str, Any], trap: Trap) -> list[str]:
    """Say which options nobody reads, and which make results wrong.

    Args:
        vendor: The vendor.
        options: Those in force.
        trap: What is compiled with each.
    """
    model = vendor.options
    if not model.model_fields:
        return []
    read: set[str] = set()
    found = []
    watched = _watched(vendor, read)
    for name, value in other_values(model):
        exe = compiled(vendor, {**options, name: value}, trap)
        for given in trap.runs():
            wrong = wrong_run(exe, trap, given)
            if wrong is not None:
                found.append(f"with {name}={value!r}: {wrong}")
                break
    exe = compiled(watched, options, trap)
    for given in trap.runs():
        exe(*given)
    if isinstance(vendor.runtime, PythonRuntime):
        found += [
            f"option {name!r} is read by nobody" for name in model.model_fields if name not in read
        ]
    return found


def _watched(vendor: Vendor, read: set[str]) -> Vendor:
    """The vendor; the names of options that its hooks read are noted."""
    fields = set(vendor.options.model_fields)

    class Watched(vendor.options):  # type: ignore[name-defined, misc]
        def __getattribute__(self, name: str) -> Any:
            if name in fields:
                read.add(name)
            elif name in ("model_dump", "model_dump_json", "__dict__", "dict"):
                read.update(fields)
            return super().__getattribute__(name)

    class Noted(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

        def get(self, name: str, default: Any = None) -> Any:
            read.add(name)
            return super().get(name, default)

        def _all(self, name: str) -> Any:
            read.update(fields)
            return getattr(super(), name)()

        def items(self) -> Any:
            return self._all("items")

        def values(self) -> Any:
            return self._all("values")

        def keys(self) -> Any:
            return self._all("keys")

        def __iter__(self) -> Any:
            return self._all("__iter__")

    def compile_segment(segment: Any, options: Any) -> Any:
        return vendor.compile(
            segment, Watched.model_construct(**dict(iter_fields(options, fields)))
        )

    def choose(options: Any, patterns: Any) -> Any:
        return vendor.choose(
            Watched.model_construct(**dict(iter_fields(options, fields))), patterns
        )

    runtime = vendor.runtime
    if isinstance(runtime, PythonRuntime):
        init = runtime.init

        def told(blob: Any, constants: Any, options: Any, *, context: Any) -> Any:
            more = {"context": context} if takes_context(init) else {}
            return init(blob, constants, Noted(options), **more)

        runtime = replace(runtime, init=told)
    return replace(vendor, compile=compile_segment, choose=choose, runtime=runtime)


def iter_fields(options: Any, fields: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of an options value."""
    for name in fields:
        yield name, getattr(options, name)
