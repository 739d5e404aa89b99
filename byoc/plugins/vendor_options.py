"""Options of vendors: checked against the vendor's model, and against what files make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pydantic

from byoc.errors import OptionError, choices
from byoc.vendor import Vendor

__all__ = ["validate_options"]


def validate_options(vendor: Vendor, options: Mapping[str, Any]) -> Any:
    """Check options by the vendor's model of them.

    Args:
        vendor: whose options they are.
        options: name → value.

    Returns:
        A value of the vendor's options model.

    Raises:
        OptionError: unknown options or wrong values; the message names them and the legal ones.
    """
    try:
        checked = vendor.options(**dict(options))
    except (pydantic.ValidationError, TypeError) as error:
        if not isinstance(error, pydantic.ValidationError):
            raise OptionError(f"options of vendor {vendor.name!r}: {error}") from error
        problems = []
        for item in error.errors():
            field = ".".join(str(part) for part in item["loc"]) or "(all)"
            if item["type"] == "extra_forbidden":
                outer = item["loc"][:-1]
                legal = [".".join(map(str, (*outer, name))) for name in _beside(vendor, outer)]
                problems.append(f"unknown option {field!r}: {choices(field, legal)}")
            else:
                problems.append(f"{field} = {item['input']!r}: {item['msg']}")
        raise OptionError(f"vendor {vendor.name!r}: {'; '.join(problems)}") from error
    _check_kept(vendor, checked)
    return checked


def _beside(vendor: Vendor, outer: Sequence[int | str]) -> list[str]:
    """Names of the options beside the one at fault: of the model that holds it."""
    model: Any = vendor.options
    for part in outer:
        if isinstance(part, int) or not hasattr(model, "model_fields"):
            continue
        field = model.model_fields.get(part)
        model = _model_in(field.annotation if field is not None else None)
    return list(getattr(model, "model_fields", ()))


def _model_in(annotation: Any) -> Any:
    """The options model that an annotation names, also inside of Optional, list, dict."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    return next((m for arg in get_args(annotation) if (m := _model_in(arg)) is not None), None)


def _check_kept(vendor: Vendor, options: Any) -> None:
    """Options go to `init` and into files as JSON: what that changes would be lost there."""
    fields = vendor.options.model_fields
    try:
        again = vendor.options.model_validate_json(options.model_dump_json())
        changed = [n for n in fields if not _same(getattr(options, n), getattr(again, n))]
    except (ValueError, TypeError):  # pydantic's errors are ValueErrors
        changed = [n for n in fields if not _survives(options, n)]
    if changed:
        named = ", ".join(f"{name} = {getattr(options, name)!r:.60}" for name in changed)
        raise OptionError(
            f"options of vendor {vendor.name!r} would be others once they are saved: {named}. "
            f"Files and other processes get them as JSON, which has no inf, nan, raw bytes or "
            f"secrets; say None for no limit, and let init read secrets from the environment"
        )


def _survives(options: Any, name: str) -> bool:
    """Whether one option is the same after JSON, as far as its type tells."""
    annotation: Any = type(options).model_fields[name].annotation
    try:
        value = json.loads(options.model_dump_json(include={name}))[name]
        again = pydantic.TypeAdapter(annotation).validate_json(json.dumps(value))
    except (ValueError, TypeError, KeyError):
        return False
    return _same(getattr(options, name), again)


def _same(before: Any, after: Any) -> bool:
    try:
        return bool(before == after)
    except Exception:  # arrays and the like do not compare as one value
        return repr(before) == repr(after)
