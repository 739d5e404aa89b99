"""``byoc cache``: what was measured on this machine, and how to forget it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from math import isfinite
from typing import Annotated

import typer

from byoc.cli.common import Json, print_json, print_table, say
from byoc.cli.parsing import Command
from byoc.timing.store import SCHEMA, Store, StoredTiming, cache_folder

__all__ = ["app"]

app = typer.Typer(
    name="cache",
    help="The store of measurements that placement 'measured' reads and fills.",
    no_args_is_help=True,
)

Vendor = Annotated[
    str | None,
    typer.Option("--vendor", metavar="NAME", help="Only of this vendor, or 'host'."),
]


@app.command(cls=Command)
def path() -> None:
    """Print the folder ($BYOC_CACHE_DIR chooses another)."""
    print(cache_folder())


@app.command(cls=Command)
def info(json: Json = False) -> None:
    """Count what is kept, by kind and by vendor."""
    with Store(say=say) as store:
        entries = list(store.entries())
        size = store.path.stat().st_size if store.path.exists() else 0
    kinds = Counter(entry.kind for entry in entries)
    backends = Counter(_backend(entry) for entry in entries)
    machines = Counter(entry.machine for entry in entries)
    if json:
        print_json(
            {
                "path": str(store.path),
                "schema": SCHEMA,
                "bytes": size,
                "measurements": len(entries),
                "failed": sum(not isfinite(e.timed.seconds) for e in entries),
                "kinds": dict(kinds),
                "places": dict(backends),
                "machines": dict(machines),
                "oldest": entries[0].created if entries else None,
                "newest": entries[-1].created if entries else None,
            }
        )
        return
    print(f"{store.path}: {len(entries)} measurements, {size / 1e6:.1f} MB")
    for heading, counts in (("kind", kinds), ("place", backends), ("machine", machines)):
        for name, count in counts.most_common():
            print(f"  {heading} {name}: {count}")
    if entries:
        print(f"  from {_date(entries[0].created)} to {_date(entries[-1].created)}")


@app.command("list", cls=Command)
def list_(
    vendor: Vendor = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    json: Json = False,
) -> None:
    """List measurements, the newest last."""
    with Store(say=say) as store:
        entries = [e for e in store.entries() if vendor in (None, _backend(e))]
    shown = entries[-limit:]
    if json:
        print_json([_plain(entry) for entry in shown])
        return
    from rich.table import Table

    table = Table("date", "kind", "place", "seconds", "noise", "what", box=None, pad_edge=False)
    for entry in shown:
        timed = entry.timed
        failed = not isfinite(timed.seconds)
        table.add_row(
            _date(entry.created),
            entry.kind,
            _backend(entry),
            "failed" if failed else f"{timed.seconds:.3g}",
            "" if failed else f"{timed.noise:.1%}",
            timed.error if failed else entry.what,
        )
    print_table(table)
    if len(entries) > len(shown):
        say(f"{len(entries) - len(shown)} older ones are not shown; --limit shows more")


@app.command(cls=Command)
def clear(
    vendor: Vendor = None,
    older: Annotated[
        float | None,
        typer.Option(
            "--older", min=0, metavar="DAYS", help="Only what is older than so many days."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Forget measurements: all, or those that are named."""
    before = None if older is None else time.time() - older * 86400
    with Store(say=say) as store:
        keys = [
            entry.key
            for entry in store.entries()
            if vendor in (None, _backend(entry)) and (before is None or entry.created < before)
        ]
        count = store.remove(keys)
    if json:
        print_json({"path": str(store.path), "removed": count})
    else:
        print(f"{store.path}: {count} measurements removed")


def _backend(entry: StoredTiming) -> str:
    return entry.place.split(" ", 1)[0]


def _plain(entry: StoredTiming) -> dict[str, object]:
    """A row as JSON: no infinity there."""
    fields = asdict(entry)
    timed = fields.pop("timed")
    seconds = timed.pop("seconds")
    return {**fields, "seconds": seconds if isfinite(seconds) else None, **timed}


def _date(stamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(stamp))
