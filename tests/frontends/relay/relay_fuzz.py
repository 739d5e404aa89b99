"""Damaged Relay files: each is read, or refused with its place; never a crash, never a hang.

    python tests/frontends/relay/relay_fuzz.py --count 5000

Seeds are the fixtures of the text format and three networks as text, JSON and `.params`. Mutations
know the grammar (tokens, lines, fields of JSON nodes, the head of binary files) or only bytes. File
N is the same in every run. Files are read in child processes, which a crash cannot outlive.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
sys.path.extend(p for p in (str(ROOT), str(Path(__file__).parent)) if p not in sys.path)

from byoc.testing.zoo.relay_nets import NETWORKS  # noqa: E402

SECONDS = 30
"""A file that takes longer hangs (an undamaged one takes a tenth of a second, quiet)."""

PLACE = re.compile(r":\d+:\d+: |:node \d+: |: byte \d+: |:\d+:\d+: metadata node \d+: ")
_TOKEN = re.compile(r'\s+|"[^"\n]*"|[%@]?[\w.:]+|.', re.S)
_NUMBERS = ["0", "-1", "1", "3", "2147483648", "9223372036854775807", "9223372036854775808",
            "1" * 40, "1e308", "0.5", "nanf", "1000000007"]  # fmt: skip


def seeds():
    """(kind, text, params): what is damaged."""
    from test_relay_text import FIXTURES, HEAD

    small = {"image": 16, "width": 4, "classes": 3}
    nets = [NETWORKS[n](**small) for n in ("mobilenet", "quantised_cnn")]
    found = [("text", HEAD + f.text, None) for f in FIXTURES.values()]
    for net in nets:
        found += [("text", net.text(), None), ("params", net.text("params"), net.params())]
        found += [("json", net.json(v), None) for v in ("0.8.0", "0.12.0", "0.18.0")]
    return found


def _tokens(rng, text):
    head, mark, tail = text.partition("\n#[metadata]")
    tokens = _TOKEN.findall(head)
    for _ in range(rng.integers(1, 4)):
        i, j = rng.integers(0, len(tokens), 2)
        match rng.integers(0, 7):
            case 0:
                del tokens[i]
            case 1:
                tokens.insert(i, tokens[j])
            case 2:
                tokens[i], tokens[j] = tokens[j], tokens[i]
            case 3:
                tokens[i] = tokens[j]
            case 4:
                numbers = [k for k, t in enumerate(tokens) if t[:1].isdigit()]
                if numbers:
                    tokens[rng.choice(numbers)] = str(rng.choice(_NUMBERS))
            case 5:
                tokens.insert(
                    i, str(rng.choice(list("(){}[],;=.%@*/<"))) * int(rng.integers(1, 300))
                )
            case _:
                words = [k for k, t in enumerate(tokens) if re.match(r"[a-z]\w*\.?\w+$", t)]
                if len(words) > 1:
                    tokens[rng.choice(words)] = tokens[rng.choice(words)]
        if not tokens:
            break
    return "".join(tokens) + mark + tail


def _lines(rng, text):
    lines = text.split("\n")
    i, j = rng.integers(0, len(lines), 2)
    match rng.integers(0, 4):
        case 0:
            del lines[i]
        case 1:
            lines.insert(i, lines[j])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            lines = lines[:i] + lines[i:j] * int(rng.integers(2, 20)) + lines[j:]
    return "\n".join(lines)


def _nodes(rng, text):
    content = json.loads(text)
    nodes = content["nodes"]
    for _ in range(rng.integers(1, 4)):
        node = nodes[rng.integers(0, len(nodes))]
        other = nodes[rng.integers(0, len(nodes))]
        attrs = node.get("attrs", {})
        value = str(rng.choice([*_NUMBERS, "null", "", "x", str(rng.integers(0, len(nodes)))]))
        match rng.integers(0, 8):
            case 0 | 1 if attrs:
                attrs[str(rng.choice(list(attrs)))] = value
            case 2 if attrs:
                del attrs[str(rng.choice(list(attrs)))]
            case 3:
                node["type_key"] = other["type_key"]
            case 4 if node.get("data"):
                node["data"][rng.integers(0, len(node["data"]))] = int(rng.integers(-1, len(nodes)))
            case 5:
                node["data"] = [int(rng.integers(0, len(nodes))) for _ in range(3)]
            case 6:
                content[str(rng.choice(["root", "b64ndarrays", "attrs"]))] = int(
                    rng.integers(-2, 99)
                )
            case _:
                node.clear()
                node.update(json.loads(json.dumps(other)))
    return json.dumps(content)


def _bytes(rng, data):
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        i = int(rng.integers(0, len(data)))
        match rng.integers(0, 4):
            case 0:
                data[i] = int(rng.integers(0, 256))
            case 1:
                del data[i : i + int(rng.integers(1, 40))]
            case 2:
                data[i:i] = rng.bytes(int(rng.integers(1, 40)))
            case _:
                del data[i:]
    return bytes(data)


def _head(rng, data):
    """A field near the start, or anywhere, gets an extreme value."""
    data = bytearray(data)
    i = int(rng.integers(0, min(len(data), 2000) // 4)) * 4
    extremes = (0, 1, 255, 2**31, 2**63, 2**64 - 1, 2**40)
    value = extremes[rng.integers(0, len(extremes))]
    data[i : i + 8] = value.to_bytes(8, "little")
    return bytes(data)


def damaged(number, pool):
    """File `number`: kind, content as bytes, bytes of its .params file or None."""
    rng = np.random.default_rng([11, number])
    wanted = str(rng.choice(["text", "json", "params"], p=[0.55, 0.28, 0.17]))
    several = [seed for seed in pool if seed[0] == wanted]
    kind, text, params = several[int(rng.integers(0, len(several)))]
    if kind == "params":
        return kind, text.encode(), (_head if rng.random() < 0.6 else _bytes)(rng, params)
    if rng.random() < 0.25:
        return kind, _bytes(rng, text.encode()), params
    change = _nodes if kind == "json" else (_tokens if rng.random() < 0.75 else _lines)
    return kind, change(rng, text).encode(), params


def outcome(folder, content, params):
    """ "read" or "refused"; raises for what must not happen."""
    from byoc.errors import ModelError
    from byoc.frontends import import_model, read_relay

    path = folder / "file.relay"
    path.write_bytes(content)
    given = None
    if params is not None:
        given = folder / "file.params"
        given.write_bytes(params)
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        import_model(read_relay(path, given))
    except ModelError as error:
        message = str(error)
        assert PLACE.search(message), f"refused without a place: {message[:300]}"
        assert len(message) < 10_000, f"a message of {len(message)} characters"
        return "refused"
    finally:
        signal.alarm(0)
    return "read"


def _late(*_):
    raise TimeoutError(f"over {SECONDS} s")


def run(first, last):
    """Read files first … last - 1; one line of JSON for each on stdout."""
    pool = seeds()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            print(json.dumps({"begin": number}), flush=True)
            kind, content, params = damaged(number, pool)
            start = time.perf_counter()
            try:
                found = outcome(Path(folder), content, params)
            except BaseException as error:
                found = f"WRONG {type(error).__name__}: {str(error)[:300]}"
            seconds = round(time.perf_counter() - start, 2)
            print(json.dumps({"n": number, "kind": kind, "is": found, "s": seconds}), flush=True)


def main():
    """Read --count files, in child processes; exit 1 when any did what it must not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--child", action="store_true")
    args = parser.parse_args()
    if args.child:
        run(args.first, args.first + args.count)
        return
    counts, bad, slowest = collections.Counter(), [], 0.0
    number, last = args.first, args.first + args.count
    while number < last:
        command = [sys.executable, __file__, "--child", "--first", str(number),
                   "--count", str(min(500, last - number))]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        results = [line for line in lines if "n" in line]
        for line in results:
            wrong = line["is"].startswith("WRONG")
            counts[line["kind"], "wrong" if wrong else line["is"]] += 1
            slowest = max(slowest, line["s"])
            if wrong:
                bad.append(line)
        number = lines[-1].get("n", lines[-1].get("begin")) + 1 if lines else last
        if done.returncode:
            bad.append({"n": number - 1, "is": f"the process died: {done.returncode}"})
        print(f"{number - args.first} of {args.count}, {len(bad)} wrong", flush=True)
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind:8} {what:8} {count:6}")
    print(f"slowest {slowest} s")
    for line in bad:
        print(line)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
