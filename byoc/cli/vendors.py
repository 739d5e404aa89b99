"""``byoc vendors``: every vendor found, and why one cannot be used."""

from __future__ import annotations

from dataclasses import asdict

from byoc.cli.common import Json, print_json, print_table

__all__ = ["vendors"]


def vendors(json: Json = False) -> None:
    """List the vendors: available, or the reason why not."""
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
