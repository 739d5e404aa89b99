"""``byoc vendors``: every vendor found, and why one cannot be used."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from byoc.cli.common import Json, print_json, print_table

__all__ = ["vendors"]


def vendors(
    claims: Annotated[
        str | None,
        typer.Option(
            "--claims",
            metavar="NAME",
            help="Only the table of what this vendor takes, in Markdown.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the vendors: available, or the reason why not."""
    if claims is not None:
        _claims(claims, json)
        return
    from byoc.plugins.discovery import vendors as find_vendors

    found = find_vendors()
    if json:
        print_json([asdict(vendor) for vendor in found])
        return
    from rich.table import Table

    table = Table("vendor", "version", "processor", "from", "available", box=None, pad_edge=False)
    for vendor in found:
        state = "yes" if vendor.available else f"no: {vendor.reason}"
        queues = ", ".join(vendor.devices) or vendor.processor
        table.add_row(vendor.name, vendor.version, queues, vendor.origin, state)
    print_table(table)


def _claims(name: str, json: bool) -> None:
    from byoc.errors import VendorError
    from byoc.kit.capability import capabilities_of, op_table
    from byoc.plugins.discovery import find

    capabilities = capabilities_of(find(name))
    if not capabilities:
        raise VendorError(
            f"vendor {name!r} says by patterns written by hand what it takes, not as data; "
            f"`byoc partition MODEL --vendors {name} --ops` shows what it takes of a model"
        )
    if json:
        print_json([capability.model_dump(mode="json") for capability in capabilities])
    else:
        print(op_table(capabilities), end="")
