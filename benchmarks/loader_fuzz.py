"""Spoil .byoc files and load them: nothing may crash, hang, or fail without a name.

``python -m benchmarks.loader_fuzz FILE.byoc… [--count 10000] [--seed 0] [--driver PROGRAM]``

Half of the files are damaged (bits, bytes, lengths), half are forged: fields of the manifest, of
plans and of segments are changed and all hashes made anew, so that only the checks of meaning are
left to refuse them. Each file goes to a child process that loads and runs it, from Python or
(``--driver``) by the C interface; a child that dies, answers nothing for a minute, or gives an
error without a name of ours is reported together with the file. Host libraries are not forged: they
are code. The same seed makes the same files.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byoc.runtime.io import archive

__all__ = ["Child", "Spoiler", "fuzz", "python_child"]

_PATIENCE = 60.0  # seconds for one file
_NUMBERS = (-1, 0, 1, 2, 3, 63, 64, 65, 4096, 2**31 - 1, 2**31, 2**32, 2**47, 2**48, 2**62, 2**80)
_TEXTS = ("", "x", "\x1b[2J", "\u202e", "../../x", "float32", "int64", "float16", "int8", "cpu",
          "npu", "input", "output", "arena", "constant", "host", "segment", "copy",
          "a" * 5000)  # fmt: skip
_KEPT = frozenset({"members", "format", "tvm", "tvm_ffi", "byoc"})
"""Fields of the manifest that are made anew, or refuse a file before anything else is looked at."""


class Spoiler:
    """Makes bad files out of good ones.

    Args:
        good: Artifacts that load.
        seed: Of the random numbers.
    """

    def __init__(self, good: Sequence[Path], seed: int) -> None:
        self._random = random.Random(seed)
        self._good = [(path.read_bytes(), _members(path)) for path in good]

    def make(self, path: Path) -> str:
        """Write the next bad file and tell what was done to it."""
        whole, members = self._random.choice(self._good)
        if self._random.random() < 0.5:
            return self._damage(whole, path)
        return self._forge(members, path)

    def _damage(self, whole: bytes, path: Path) -> str:
        data, roll = bytearray(whole), self._random
        kind = roll.choice(("bits", "bytes", "cut", "insert", "end"))
        at = roll.randrange(len(data))
        if kind == "bits":
            for _ in range(roll.randint(1, 3)):
                data[roll.randrange(len(data))] ^= 1 << roll.randrange(8)
        elif kind == "bytes":
            data[at : at + 16] = roll.randbytes(min(16, len(data) - at))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = roll.randbytes(roll.randint(1, 64))
        else:
            at = len(data) - 1 - roll.randrange(min(4000, len(data)))
            data[at] = roll.randrange(256)
        path.write_bytes(data)
        return f"{kind} at {at}"

    def _forge(self, members: dict[str, bytes], path: Path) -> str:
        roll = self._random
        data = dict(members)
        texts = [n for n in data if n.endswith((".json", ".bin")) and n != "weights.bin"]
        done = []
        for _ in range(roll.choice((1, 1, 1, 2, 3))):
            name = roll.choice([*texts, *["plan.json", archive.MANIFEST] * 3])
            if name not in data:
                continue
            try:
                document = json.loads(data[name])
            except ValueError:  # a segment that is no JSON
                blob = bytearray(data[name] or b"\0")
                blob[roll.randrange(len(blob))] = roll.randrange(256)
                data[name] = bytes(blob)
                done.append(f"{name}: a byte")
                continue
            done.append(f"{name}: {self._change(document)}")
            data[name] = json.dumps(document).encode()
        manifest = json.loads(data.pop(archive.MANIFEST))

        def encode(entries: Sequence[archive.Member]) -> bytes:
            manifest["members"] = [
                {"name": m.name, "size": m.size, "crc32": f"{m.crc32:08x}", "sha256": [*m.sha256]}
                for m in entries
            ]
            return json.dumps(manifest).encode()

        with path.open("wb") as out:
            archive.write_archive(out, [(n, len(d), [d]) for n, d in data.items()], encode)
        return "; ".join(done)

    def _change(self, document: Any) -> str:
        """Change one value somewhere in a document."""
        roll = self._random
        places: list[tuple[Any, Any]] = []

        def walk(value: Any, top: bool) -> None:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in list(items):
                if top and key in _KEPT:
                    continue
                places.append((value, key))
                if isinstance(inner, (dict, list)):
                    walk(inner, False)

        if isinstance(document, (dict, list)):
            walk(document, True)
        if not places:
            return "nothing"
        owner, key = roll.choice(places)
        old = owner[key]
        kind = roll.random()
        if kind < 0.15:
            del owner[key]
            return f"{key} removed"
        if kind < 0.3:  # what stands elsewhere
            other, place = roll.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                owner[key] = json.loads(json.dumps(other[place]))
        elif kind < 0.4 and isinstance(old, list) and old:
            old.append(json.loads(json.dumps(roll.choice(old))))
        elif isinstance(old, bool):
            owner[key] = not old
        elif isinstance(old, int) and kind < 0.95:
            near = (old + 1, old - 1, old * 2, old // 2, old + 64, old - 64, -old)
            owner[key] = roll.choice((*_NUMBERS, *near))
        elif isinstance(old, str) and kind < 0.95:
            owner[key] = roll.choice(_TEXTS)
        else:
            owner[key] = roll.choice((None, True, 1.5, "x", 7, [], {}, [[]], {"x": 1}, 1e300))
        return f"{key} = {json.dumps(owner[key])[:60]} (was {json.dumps(old)[:60]})"


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archived:
        return {name: archived.read(name) for name in archived.namelist()}


class Child:
    """A process that loads and runs files; another one is started when it has died.

    Args:
        command: What reads paths from stdin and answers a line each.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def ask(self, path: Path) -> tuple[str, str]:
        """Return "ok", "refused" or "bad", and what was said."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, errors="replace",
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _PATIENCE)
        answer = process.stdout.readline().strip() if ready else ""
        if answer:
            named = answer == "ok" or answer[0] in "2345" or answer.startswith("Byoc")
            return ("ok" if answer == "ok" else "refused" if named else "bad"), answer
        process.kill()
        _, said = process.communicate()
        self._process = None
        ended = f"died with status {process.returncode}: {said[-2000:]}"
        return "bad", ended if ready else f"no answer within {_PATIENCE:g} s"

    def close(self) -> None:
        """End the process; raises AssertionError when it does not end well (a leak was found)."""
        if self._process is not None:
            _, said = self._process.communicate()
            assert self._process.returncode == 0, said[-4000:]
            self._process = None


def fuzz(
    good: Sequence[Path],
    count: int,
    command: Sequence[str],
    *,
    seed: int = 0,
    keep: Path | None = None,
    say: Callable[[str], object] = print,
) -> int:
    """Load and run spoiled files.

    Args:
        good: Artifacts that load.
        count: How many to make.
        command: See `Child`.
        seed: Of the random numbers.
        keep: Folder for files that were answered badly.
        say: Where remarks go.

    Returns:
        How many were answered badly.
    """
    spoiler, child, seen = Spoiler(good, seed), Child(command), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bad.byoc"
        for number in range(count):
            what = spoiler.make(path)
            kind, answer = child.ask(path)
            seen[kind] += 1
            if kind == "bad":
                say(f"file {number} of seed {seed} ({what}): {answer}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, keep / f"{seed}-{number}.byoc")
        child.close()
    say(f"{count} files: " + ", ".join(f"{n} {kind}" for kind, n in sorted(seen.items())))
    return seen["bad"]


def _serve() -> None:
    """The child of Python: paths from stdin, an answer each."""
    import numpy as np

    import byoc
    from byoc.errors import ByocError
    from byoc.testing.on_purpose import accident

    for line in sys.stdin:
        try:
            loaded = byoc.load(line.strip())
            inputs = {}
            for port in loaded.inputs:
                shape = [d if isinstance(d, int) else 2 for d in port.type.shape]
                if np.prod(shape, dtype=float) > 1 << 24:
                    raise ByocError("too large to be run here")
                inputs[port.name] = np.ones(shape, port.type.dtype)
            for _ in range(2):
                loaded.run(inputs)
            answer = "ok"
        except ByocError as error:
            why = accident(error)
            answer = f"{'Byoc' if why is None else why} {type(error).__name__} {error}"
        except Exception as error:
            answer = f"{type(error).__name__} {error}"
        print(answer.replace("\n", " ")[:500], flush=True)


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--driver", help="program that opens the files by the C interface")
    parser.add_argument("--keep", type=Path, help="folder for files that were answered badly")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _serve()
        return 0
    command = [options.driver] if options.driver else python_child()
    bad = fuzz(options.files, options.count, command, seed=options.seed, keep=options.keep)
    return 1 if bad else 0


def python_child() -> list[str]:
    """The command of a child that loads files from Python."""
    return [sys.executable, str(Path(__file__).resolve()), "--child"]


if __name__ == "__main__":
    sys.exit(_main())
