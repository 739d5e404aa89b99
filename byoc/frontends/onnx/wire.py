"""Find the weights inside an ONNX file without reading them.

An ONNX file is one protobuf message. Parsing it whole copies every weight once (and once more
when the bytes are taken out), and messages end at 2 GB. So the outer levels of the wire format
are walked by hand and large payloads are cut out::

    ModelProto { … graph(7) { node(1)*  initializer(5) { dims, name(8), raw_data(9) }* … } … }
                                                                        ╰─ stays in the file

What remains, a few hundred kilobytes, is given to the protobuf library; the weights are views of
the mapped file. Wire format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_NODES", "BadWireError", "TooManyNodesError", "split"]

LARGE = 4096
"""Payloads from this many bytes on stay in the file."""

MAX_NODES = 200_000
"""Graphs of more nodes are refused before anything is parsed: they would take hours, and gigabytes.

The largest models of the ONNX model zoo have some ten thousand."""

_GRAPH = 7
_NODE = 1
_INITIALIZER = 5
_NAME = 8
_RAW_DATA = 9


class BadWireError(Exception):
    """The bytes do not follow the protobuf wire format."""


class TooManyNodesError(Exception):
    """The graph has more than `MAX_NODES` nodes."""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    begin: int  # of the tag
    data: int  # of the payload
    end: int


def split(data: memoryview) -> tuple[bytes, dict[str, memoryview]]:
    """The model without its large weights, and these by tensor name.

    Args:
        data: The bytes of an ONNX file; the weights are views of them.

    Raises:
        BadWireError: The bytes are no protobuf message.
        TooManyNodesError: The graph has more than `MAX_NODES` nodes.
    """
    payloads: dict[str, memoryview] = {}
    model = bytearray()
    for field in _fields(data, 0, len(data)):
        if field.number == _GRAPH:
            graph, nodes = bytearray(), 0
            for inner in _fields(data, field.data, field.end):
                nodes += inner.number == _NODE
                if nodes > MAX_NODES:
                    raise TooManyNodesError
                if inner.number == _INITIALIZER and inner.end - inner.data >= LARGE:
                    _append(graph, _INITIALIZER, _without_raw(data, inner, payloads))
                else:
                    graph += data[inner.begin : inner.end]
            _append(model, _GRAPH, graph)
        else:
            model += data[field.begin : field.end]
    return bytes(model), payloads


def _without_raw(
    data: memoryview, tensor: _Field, payloads: dict[str, memoryview]
) -> bytes | memoryview:
    """The tensor's message with `raw_data` noted in `payloads` and left out."""
    rest = bytearray()
    name = raw = None
    for field in _fields(data, tensor.data, tensor.end):
        if field.number == _RAW_DATA:
            raw = data[field.data : field.end]
            continue
        if field.number == _NAME:
            name = bytes(data[field.data : field.end]).decode("utf-8", "replace")
        rest += data[field.begin : field.end]
    if name is None or raw is None or name in payloads:
        return data[tensor.data : tensor.end]
    payloads[name] = raw
    return bytes(rest)


def _append(message: bytearray, number: int, payload: bytes | bytearray | memoryview) -> None:
    message.append(number << 3 | 2)
    size = len(payload)
    while size >= 0x80:
        message.append(size & 0x7F | 0x80)
        size >>= 7
    message.append(size)
    message += payload


def _fields(data: memoryview, at: int, end: int) -> Iterator[_Field]:
    while at < end:
        begin = at
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            start = at
            _, at = _varint(data, at, end)
        elif kind == 1:
            start, at = at, at + 8
        elif kind == 2:
            size, start = _varint(data, at, end)
            at = start + size
        elif kind == 5:
            start, at = at, at + 4
        else:
            raise BadWireError(f"unknown wire type {kind} at byte {begin}")
        if at > end or tag >> 3 == 0:
            raise BadWireError(f"the message ends early at byte {begin}")
        yield _Field(tag >> 3, begin, start, at)


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise BadWireError(f"the message ends early at byte {at}")
