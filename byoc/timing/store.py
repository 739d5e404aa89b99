"""What was measured on this machine, kept between runs: one SQLite file in the cache folder.

    put(key, timing) ──▶ this run's memory ──commit──▶ measurements.sqlite   (WAL)
                              │                             │
                              │   another process writes    │ corrupted, or of another schema:
                              │   for too long              │ renamed, said, a new one begun
                              ▼                             ▼
                        pending-*.jsonl  ──absorbed by the next run──▶  all of this run, again

Every measurement is committed as it is made, so that a run that is stopped is a run to go on
from. Trouble with the file never ends a run and never loses what the run has measured.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path
from types import TracebackType
from typing import Any

from byoc.support.files import atomic_write

__all__ = ["SCHEMA", "Store", "StoredTiming", "Timed", "cache_folder"]

SCHEMA = 1
"""Version of the file's layout, kept in SQLite's ``user_version``."""

_APPLICATION = 0x42594F43  # "BYOC", in SQLite's ``application_id``
_NAME = "measurements.sqlite"
_PATIENCE = 5.0  # seconds to wait for another process before a commit is put off
_MOST = 2**53  # runs: whole numbers that JSON and SQLite both carry
_LAST_PATIENCE = 20.0  # the same, when the store is closed

_CREATE = """
CREATE TABLE timing (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    place TEXT NOT NULL,
    machine TEXT NOT NULL,
    what TEXT NOT NULL,
    seconds REAL,
    noise REAL NOT NULL,
    runs INTEGER NOT NULL,
    error TEXT NOT NULL,
    created REAL NOT NULL
) WITHOUT ROWID
"""
_COLUMNS = "kind, place, machine, what, seconds, noise, runs, error, created"


def cache_folder() -> Path:
    """Return the folder of byoc's caches: ``$BYOC_CACHE_DIR``, else ``byoc`` in the user's."""
    chosen = os.environ.get("BYOC_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "byoc"


@dataclass(frozen=True, slots=True)
class Timed:
    """What timing one piece of work gave.

    Attributes:
        seconds: Of one run, the median; infinity when it could not be built.
        noise: Half the spread between the quartiles, over the median.
        runs: How many samples are behind it.
        error: Why it could not be built.

    """

    seconds: float
    noise: float = 0.0
    runs: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class StoredTiming:
    """One row of the store.

    Attributes:
        key: What tells this work from other work (`byoc.timing.keys`).
        kind: "segment", "piece", "kernel", "handoff" or "plan".
        place: Who does the work, with version and options.
        machine: Processor and threads.
        what: Words for people.
        timed: The result.
        created: Seconds since 1970.

    """

    key: str
    kind: str
    place: str
    machine: str
    what: str
    timed: Timed
    created: float

    def row(self) -> tuple[Any, ...]:
        """Return the entry as the table's columns; None for infinite seconds."""
        t = self.timed
        seconds = t.seconds if isfinite(t.seconds) else None
        head = (self.key, self.kind, self.place, self.machine, self.what)
        return (*head, seconds, t.noise, t.runs, t.error, self.created)


def _entry(values: Sequence[Any]) -> StoredTiming:
    """Check the columns of a row, or the fields of a line, whoever wrote them.

    Raises:
        ValueError: One of them is not what it must be; the message names it.
    """
    key, kind, place, machine, what, seconds, noise, runs, error, created = values
    texts = {"key": key, "kind": kind, "place": place, "machine": machine, "what": what}
    for name, text in (texts | {"error": error}).items():
        if not isinstance(text, str):
            raise ValueError(f"{name} must be text, found {_shown(text)}")
        text.encode()  # a lone surrogate is no text either: UnicodeEncodeError is a ValueError
    timed = Timed(
        inf if seconds is None or seconds == inf else _number("seconds", seconds),
        _number("noise", noise),
        int(_number("runs", runs)),
        error,
    )
    if timed.runs > _MOST:
        raise ValueError(f"runs must be at most {_MOST}, found {_shown(runs)}")
    return StoredTiming(key, kind, place, machine, what, timed, _number("created", created))


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number beyond every float
            if isfinite(value) and value >= 0:
                return float(value)
    raise ValueError(f"{name} must be a finite number from 0, found {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a short picture of a value that may be anything."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of very many digits"
    return f"{value!r:.60}"


def _line(line: str) -> StoredTiming | None:
    """Read a line of a pending file; None for one of another layout.

    Raises:
        ValueError: It is no such line.
    """
    try:
        fields = json.loads(line)
        if fields["schema"] != SCHEMA:
            return None
        timed = fields["timed"]
        head = [fields[name] for name in ("key", "kind", "place", "machine", "what")]
        tail = [timed[name] for name in ("seconds", "noise", "runs", "error")]
        return _entry([*head, *tail, fields["created"]])
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except (TypeError, IndexError) as error:
        raise ValueError(f"no JSON object of the right form: {error}") from None
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _text(data: bytes) -> str | bytes:
    """Return a text of the file; bytes that are no text stay bytes, for `_entry` to refuse."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class Store:
    """The measurements of this machine; to be used as a context manager, from one thread.

    Nothing here raises for a file that is locked, damaged, or cannot be written.

    Args:
        folder: Where the file is, by default `cache_folder()`.
        say: Told, in one line, whatever goes wrong with the file.

    """

    def __init__(
        self, folder: Path | None = None, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.folder = folder or cache_folder()
        self.path = self.folder / _NAME
        self._say = say
        self._said: set[str] = set()
        self._mine: dict[str, StoredTiming] = {}  # all that this run has put
        self._unsaved: dict[str, StoredTiming] = {}
        self._unsound: set[str] = set()  # of mine, what no file takes
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._open()
        self._absorb()

    # -- reading and writing -----------------------------------------------------------------------

    def get(self, key: str) -> Timed | None:
        """Return what is known under a key, None when nothing is."""
        mine = self._mine.get(key)
        if mine is not None:
            return mine.timed
        row = self._try(lambda c: c.execute(f"SELECT key, {_COLUMNS} FROM timing WHERE key = ?",
                                            (key,)).fetchone())  # fmt: skip
        entry = None if row is None else self._sound(row)
        return None if entry is None else entry.timed

    def put(
        self, key: str, timed: Timed, *, kind: str, place: str, machine: str, what: str
    ) -> None:
        """Keep a measurement; it is committed before this returns, where the file allows.

        Args:
            key: What tells this work from other work.
            timed: The result.
            kind: See `StoredTiming`, as the others.
            place: Who did the work.
            machine: On what.
            what: Words for people.

        """
        entry = StoredTiming(key, kind, place, machine, what, timed, time.time())
        self._mine[key] = entry
        try:
            _entry(entry.row())
        except ValueError as error:
            self._note(f"a measurement is kept in memory only ({error})")
            self._unsound.add(key)
            return
        self._unsound.discard(key)
        self._unsaved[key] = entry
        if self._connection is not None and self._moved():
            self._reopen()
        self._flush()

    def entries(self) -> Iterator[StoredTiming]:
        """Yield all rows, oldest first."""
        rows = self._try(
            lambda c: c.execute(f"SELECT key, {_COLUMNS} FROM timing ORDER BY created").fetchall()
        )
        yield from filter(None, map(self._sound, rows or ()))

    def _sound(self, row: Sequence[Any]) -> StoredTiming | None:
        """The entry of a row; None for a row that makes no sense, which is as good as not there."""
        try:
            return _entry(row)
        except ValueError as error:
            self._note(f"{self.path}: a row is left out ({error})")
            return None

    def remove(self, keys: list[str]) -> int:
        """Forget the rows of some keys and return how many there were."""

        def delete(connection: sqlite3.Connection) -> int:
            with connection:
                before = connection.total_changes
                connection.executemany("DELETE FROM timing WHERE key = ?", [(k,) for k in keys])
                return connection.total_changes - before

        for key in keys:
            self._mine.pop(key, None)
            self._unsaved.pop(key, None)
        return self._try(delete) or 0

    def close(self) -> None:
        """Commit what is left; what cannot be committed is written aside for the next run."""
        if self._unsaved and self._connection is not None:
            self._wait(_LAST_PATIENCE)
            self._flush()
        if self._unsaved:
            self._write_aside()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the file ----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Connect; set a file aside that is damaged or has another layout."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._connect()
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                self._note(f"{self.path} is locked by another process; waiting for it")
                try:
                    self._connect(_LAST_PATIENCE)
                    return
                except sqlite3.Error:
                    pass
            self._give_up(error)
        except sqlite3.DatabaseError as error:
            self._set_aside(f"is damaged ({error})")
        except OSError as error:
            self._give_up(error)

    def _connect(self, patience: float = _PATIENCE) -> None:
        connection = sqlite3.connect(self.path, timeout=patience, isolation_level="IMMEDIATE")
        self._connection = connection
        connection.text_factory = _text
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and version != SCHEMA:
            connection.close()
            self._connection = None
            age = "an older" if version < SCHEMA else "a newer"
            self._set_aside(f"has layout {version}, of {age} byoc; this one writes {SCHEMA}")
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            self._create(connection)
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        kinds = connection.execute(
            "SELECT type FROM sqlite_master WHERE name = 'timing'"
        ).fetchall()
        if kinds != [("table",)]:  # a view may compute for ever
            raise sqlite3.DatabaseError("timing is no table")
        connection.execute(f"SELECT key, {_COLUMNS} FROM timing LIMIT 1").fetchall()
        self._inode = self.path.stat().st_ino

    @staticmethod
    def _create(connection: sqlite3.Connection) -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have been quicker.
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute(_CREATE)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _set_aside(self, why: str) -> None:
        """Rename the file, begin a new one, and put there what this run has measured."""
        self._disconnect()
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        aside = self.path.with_name(f"{_NAME}.{stamp}.aside")
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                other = self.path.with_name(_NAME + suffix)
                if other.exists():
                    other.replace(aside.with_name(aside.name + suffix))
            self._note(f"the store {self.path} {why}: set aside as {aside.name}, a new one is used")
            self._connect()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
            return
        self._save_again()

    def _reopen(self) -> None:
        """The file was replaced under us: what this run has measured goes into the new one too."""
        self._disconnect()
        self._save_again()
        self._open()

    def _save_again(self) -> None:
        self._unsaved = {k: e for k, e in self._mine.items() if k not in self._unsound}

    def _moved(self) -> bool:
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def _give_up(self, error: Exception) -> None:
        self._disconnect()
        self._note(
            f"the store {self.path} cannot be used ({error}): measurements are kept in memory"
        )

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _wait(self, seconds: float) -> None:
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    # -- trouble -----------------------------------------------------------------------------------

    def _try(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """``work(connection)``; None when there is no file or it makes trouble."""
        if self._connection is None:
            return None
        try:
            return work(self._connection)
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                self._note(f"{self.path} is locked by another process; its rows are not read")
            else:
                self._give_up(error)
        except sqlite3.DatabaseError as error:
            self._set_aside(f"is damaged ({error})")
            self._flush()
        return None

    def _flush(self) -> None:
        """Commit what is not saved; a locked file keeps it for later."""
        connection = self._connection
        if connection is None or not self._unsaved:
            return
        marks = ", ".join("?" * 10)
        rows = [entry.row() for entry in self._unsaved.values()]
        try:
            with connection:
                connection.executemany(
                    f"INSERT OR REPLACE INTO timing (key, {_COLUMNS}) VALUES ({marks})", rows
                )
            self._unsaved.clear()
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                self._give_up(error)
                return
            self._note(f"{self.path} is locked by another process; measurements wait in memory")
            self._wait(0.1)  # do not hold every further measurement up
        except sqlite3.DatabaseError as error:
            self._set_aside(f"is damaged ({error})")
            if self._connection is not None:
                self._flush()

    def _write_aside(self) -> None:
        """Lines that the next run takes in."""
        path = self.folder / f"pending-{os.getpid()}-{time.time_ns()}.jsonl"
        lines = [json.dumps({**asdict(e), "schema": SCHEMA}) for e in self._unsaved.values()]
        try:
            with atomic_write(path) as file:
                file.write(("\n".join(lines) + "\n").encode())
        except OSError as error:
            self._note(f"{len(lines)} measurements could not be kept: {error}")
            return
        self._note(f"{len(lines)} measurements are kept in {path} for the next run")
        self._unsaved.clear()

    def _absorb(self) -> None:
        """Take in what earlier runs had to write aside."""
        if self._connection is None:
            return
        for path in sorted(self.folder.glob("pending-*.jsonl")):
            try:
                if not path.is_file():
                    raise OSError("it is no file")  # a pipe would be waited for
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as error:
                self._note(f"{path} cannot be read ({error}): left as it is")
                continue
            sound, whole = [], True
            for number, line in enumerate(lines, 1):
                try:
                    entry = _line(line)
                except ValueError as error:
                    self._note(f"{path} cannot be read (line {number}: {error}): left as it is")
                    whole = False
                else:
                    sound += [] if entry is None else [entry]
            for entry in sound:
                # Lines of a file that stays come again and again: they replace nothing.
                if whole or self.get(entry.key) is None:
                    self._unsaved.setdefault(entry.key, entry)
            self._flush()
            if whole and not self._unsaved:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _note(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error) or "busy" in str(error)
