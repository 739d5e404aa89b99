"""``byoc cache``: what was measured and built on this machine, and how to forget it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import Json, print_json, print_table, say
from byoc.cli.parsing import App
from byoc.errors import OptionError
from byoc.timing.store import SCHEMA, Store, StoredTiming, cache_folder

if TYPE_CHECKING:
    from byoc.runtime.engines import StoredEngine

__all__ = ["app"]

app = App(
    name="cache",
    help="Measurements for placement 'measured', and engines that vendors have built.",
    no_args_is_help=True,
)

Vendor = Annotated[
    str | None,
    typer.Option("--vendor", metavar="NAME", help="Only of this vendor, or 'host'."),
]
Older = Annotated[
    float | None,
    typer.Option("--older", min=0, metavar="DAYS", help="Only what is older than so many days."),
]

_ENGINE = "engine"  # the kind of an engine, beside those of measurements
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@app.command()
def path() -> None:
    """Print the folder ($BYOC_CACHE_DIR chooses another)."""
    print(cache_folder())


@app.command()
def info(json: Json = False) -> None:
    """Count what is kept, by kind and by vendor."""
    from byoc.runtime.engines import engine_limit, stored_engines

    with Store(say=say) as store:
        entries = list(store.entries())
        size = store.path.stat().st_size if store.path.exists() else 0
    kinds = Counter(entry.kind for entry in entries)
    backends = Counter(_backend(entry) for entry in entries)
    machines = Counter(entry.machine for entry in entries)
    engines = stored_engines()
    engine_bytes = sum(engine.bytes for engine in engines)
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
                "engines": {
                    "count": len(engines),
                    "bytes": engine_bytes,
                    "limit": engine_limit(),
                    "vendors": dict(Counter(engine.vendor for engine in engines)),
                },
            }
        )
        return
    print(f"{store.path}: {len(entries)} measurements, {size / 1e6:.1f} MB")
    for heading, counts in (("kind", kinds), ("place", backends), ("machine", machines)):
        for name, count in counts.most_common():
            print(f"  {heading} {name}: {count}")
    if entries:
        print(f"  from {_date(entries[0].created)} to {_date(entries[-1].created)}")
    limit = engine_limit() / 1e6
    print(f"{len(engines)} engines, {engine_bytes / 1e6:.1f} of at most {limit:.0f} MB")


@app.command("list")
def list_(
    vendor: Vendor = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="Only of this kind: 'engine', 'segment', …."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    json: Json = False,
) -> None:
    """List engines and measurements, the newest last."""
    from byoc.runtime.engines import stored_engines

    entries: list[StoredEngine | StoredTiming] = []
    if kind != _ENGINE:
        with Store(say=say) as store:
            entries += [
                e
                for e in store.entries()
                if vendor in (None, _backend(e)) and kind in (None, e.kind)
            ]
    if kind in (None, _ENGINE):
        entries += [e for e in stored_engines() if vendor in (None, e.vendor)]
    entries.sort(key=lambda entry: entry.created)
    shown = entries[-limit:]
    if json:
        print_json([_plain(entry) for entry in shown])
        return
    from rich.table import Table

    table = Table("date", "kind", "place", "seconds", "noise", "what", box=None, pad_edge=False)
    for entry in shown:
        table.add_row(*_row(entry))
    print_table(table)
    if len(entries) > len(shown):
        say(f"{len(entries) - len(shown)} older ones are not shown; --limit shows more")


@app.command()
def check(json: Json = False) -> None:
    """Read all that is kept and set damaged files aside (exit status 1 when there were any)."""
    from byoc.runtime.engines import stored_engines

    with Store(say=say) as store:
        measurements = sum(1 for _ in store.entries())
    engines = stored_engines(whole=True)
    damaged = [engine for engine in engines if engine.problem not in ("", "set aside")]
    good = sum(not engine.problem for engine in engines)
    if json:
        print_json(
            {
                "measurements": measurements,
                "engines": good,
                "damaged": {engine.key: engine.problem for engine in damaged},
            }
        )
    else:
        for engine in damaged:
            print(f"engine {engine.key}: {engine.problem}; set aside, built again when needed")
        print(f"{good} engines and {measurements} measurements are good")
    if damaged:
        raise typer.Exit(1)


@app.command()
def prune(
    size: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="BYTES", help="At most so many bytes of engines ('500M', '2G')."
        ),
    ] = None,
    older: Older = None,
    json: Json = False,
) -> None:
    """Remove engines that were not used for longest, and what crashed processes left."""
    from byoc.runtime.engines import engine_limit, prune_engines, remove_engine, stored_engines

    limit = engine_limit() if size is None else _bytes(size)
    removed = 0
    for engine in stored_engines():
        late = older is not None and engine.used < time.time() - older * 86400
        if late or (engine.problem and older is None):
            removed += remove_engine(engine.key)
    removed += prune_engines(limit)
    left = stored_engines()
    facts = {"removed": removed, "engines": len(left), "bytes": sum(e.bytes for e in left)}
    if json:
        print_json(facts)
    else:
        print(f"{removed} engines removed, {len(left)} left, {facts['bytes'] / 1e6:.1f} MB")


@app.command()
def warm(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="OUT.byoc…", help="Compiled models.", show_default=False),
    ],
    json: Json = False,
) -> None:
    """Load compiled models once, so that the next start finds their engines."""
    from byoc.executable import load
    from byoc.runtime.engines import stored_engines

    facts = []
    for model in models:
        before = {engine.key for engine in stored_engines()}
        begin = time.time()
        load(model).close()
        used = [e for e in stored_engines() if e.used >= begin and not e.problem]
        built = sum(engine.key not in before for engine in used)
        facts.append(
            {
                "model": str(model),
                "seconds": time.time() - begin,
                "built": built,
                "found": len(used) - built,
            }
        )
        if not json:
            print(
                f"{model}: {built} engines built, {len(used) - built} found, "
                f"{facts[-1]['seconds']:.2f} s"
            )
    if json:
        print_json(facts)


@app.command()
def clear(vendor: Vendor = None, older: Older = None, json: Json = False) -> None:
    """Forget measurements and engines: all, or those that are named."""
    from byoc.runtime.engines import remove_engine, stored_engines

    before = None if older is None else time.time() - older * 86400
    with Store(say=say) as store:
        keys = [
            entry.key
            for entry in store.entries()
            if vendor in (None, _backend(entry)) and (before is None or entry.created < before)
        ]
        count = store.remove(keys)
    engines = sum(
        remove_engine(engine.key)
        for engine in stored_engines()
        if vendor in (None, engine.vendor) and (before is None or engine.created < before)
    )
    if json:
        print_json({"path": str(store.path), "removed": count, "engines": engines})
    else:
        print(f"{store.path}: {count} measurements removed, and {engines} engines")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d{1,15})([KMGT]?)B?", text.strip().upper())
    if found is None:
        raise OptionError(f"--size takes bytes, such as 500M or 2G, found {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def _backend(entry: StoredTiming) -> str:
    return entry.place.split(" ", 1)[0]


def _row(entry: StoredEngine | StoredTiming) -> tuple[str, ...]:
    """A row of the table that people read."""
    if not isinstance(entry, StoredTiming):
        what = entry.problem or f"{entry.bytes / 1e6:.1f} MB, built for {entry.segment}"
        seconds = "" if entry.problem else f"{entry.seconds:.3g}"
        return _date(entry.created), _ENGINE, entry.vendor, seconds, "", what
    timed = entry.timed
    failed = not isfinite(timed.seconds)
    return (
        _date(entry.created),
        entry.kind,
        _backend(entry),
        "failed" if failed else f"{timed.seconds:.3g}",
        "" if failed else f"{timed.noise:.1%}",
        timed.error if failed else entry.what,
    )


def _plain(entry: StoredEngine | StoredTiming) -> Mapping[str, object]:
    """A row as JSON: no infinity there."""
    fields = asdict(entry)
    if not isinstance(entry, StoredTiming):
        return {"kind": _ENGINE, **fields}
    timed = fields.pop("timed")
    seconds = timed.pop("seconds")
    return {**fields, "seconds": seconds if isfinite(seconds) else None, **timed}


def _date(stamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(stamp))
