"""Small vendors made of a few patterns; nothing native."""

from byoc.segment import Artifact
from byoc.vendor import NativeRuntime, Pattern, Vendor


def toy(name, *patterns):
    """A vendor with these patterns: `Pattern` values, or names of ops it takes alone."""

    def offered():
        return [single(p) if isinstance(p, str) else p for p in patterns]

    return Vendor(
        name=name,
        version="1",
        patterns=offered,
        compile=lambda segment, options: Artifact(segment.name, name, b""),
        runtime=NativeRuntime("none"),
    )


def single(op, **kwargs):
    """A pattern of one op with any arguments."""
    from tvm.relax.dpl import is_op

    expr = is_op(f"relax.{op}")(varg_default_wildcard=True)
    return Pattern(op.replace(".", "_"), expr, parts={"out": expr}, **kwargs)


def chain(name, *ops, **kwargs):
    """A pattern of unary (or binary, first argument) ops, innermost first."""
    from tvm.relax.dpl import is_op, wildcard

    expr = wildcard()
    for op in ops:
        expr = is_op(f"relax.{op}")(expr, varg_default_wildcard=True)
    return Pattern(name, expr, **kwargs)
