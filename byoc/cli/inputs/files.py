"""Inputs of a model, from whatever a user has: archives, arrays, raw bytes, pictures, or nothing.

In: the texts of ``--inputs``, each a file or ``NAME=FILE``. Out: an array for each input. Files are
read at once, before anything is compiled; what they lack, the model tells later::

    X.npz          arrays by name
    FILE.npy       one array                    ┐ for NAME, or for the only input
    FILE.bin .raw  the bytes, C order           │ dtype and shape are the model's
    FILE.png .jpg  resized to the input's size  ┘ RGB; 0 to 255 for whole numbers, else 0 to 1

Without ``--inputs`` they are random, by a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byoc.cli.common import say
from byoc.cli.inputs.arrays import read_arrays, read_npy
from byoc.errors import InputError, OptionError, choices

if TYPE_CHECKING:
    from byoc.segment import Array, TensorType

__all__ = ["Inputs", "Reader", "given_inputs", "inputs_for", "read_inputs"]

Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--inputs",
        metavar="X.npz|[NAME=]FILE",
        help="Inputs: .npz by name; .npy, .bin or a picture for one input (default: random).",
        show_default=False,
    ),
]
"""Where the inputs come from; given twice, they add up."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_RAW = (".bin", ".raw")

Reader = Callable[["TensorType"], "Array"]
"""An input of this type → its array."""


def read_inputs(texts: Sequence[str]) -> dict[str, Reader]:
    """Read the files that ``--inputs`` names.

    Args:
        texts: What the user gave.

    Returns:
        Name of an input → how to make its array; the name "" stands for the only input.

    Raises:
        InputError: A file cannot be read, or holds something else.
        OptionError: An input is given twice.
    """
    found: dict[str, Reader] = {}
    for text in texts:
        name, path = _split(text)
        for key, reader in _readers(name, path).items():
            if key in found:
                raise OptionError(f"--inputs gives {key or 'the only input'!r} twice")
            found[key] = reader
    return found


def inputs_for(
    executable: Any,
    found: Mapping[str, Reader],
    source: Path | None,
    dims: dict[str, int],
    seed: int = 0,
) -> dict[str, Array]:
    """Return inputs of a compiled model: those that were given, or random ones.

    Args:
        executable: The compiled model.
        found: What `read_inputs` returned; empty: random inputs.
        source: The model file, None for a compiled model alone.
        dims: Sizes of symbolic dimensions, which random inputs have.
        seed: Of random inputs.

    Raises:
        InputError: A file does not fit the input; a symbolic dimension has no size.
        OptionError: `dims` names a dimension that no input has.
    """
    if found:
        return given_inputs(found, {port.name: port.type for port in executable.inputs})
    return _random_inputs(source, executable, dims, seed)


def given_inputs(found: Mapping[str, Reader], types: Mapping[str, TensorType]) -> dict[str, Array]:
    """Make the arrays of inputs that were given.

    Args:
        found: What `read_inputs` returned.
        types: Name → type of each input of the model.

    Returns:
        Name → array. Whether it is all the model needs, and fits, the model itself tells.

    Raises:
        InputError: A file does not fit the input; "" stands for one of several inputs.
    """
    arrays = {}
    for key, reader in found.items():
        name = key
        if not key:
            if len(types) != 1:
                raise InputError(
                    f"the model has {len(types)} inputs; say which the file is for, as NAME=FILE: "
                    f"{', '.join(types)}"
                )
            (name,) = types
        if name not in types:
            raise InputError(f"the model has no input {name!r}: {choices(name, types)}")
        if name in arrays:
            raise OptionError(f"--inputs gives {name!r} twice")
        arrays[name] = reader(types[name])
    return arrays


def _split(text: str) -> tuple[str, Path]:
    """Name and path of ``NAME=FILE``; a file whose own name holds a "=" is a file."""
    name, sign, path = text.partition("=")
    return ("", Path(text)) if not sign or Path(text).exists() else (name, Path(path))


def _readers(name: str, path: Path) -> dict[str, Reader]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            array = read_npy(path)
            return {name: _as_it_is(array)}
        if suffix in _RAW:
            data = path.read_bytes()
            return {name: lambda type_: _from_bytes(data, type_, path)}
        if suffix in PICTURES:
            picture = _picture(path)
            return {name: lambda type_: _from_picture(picture, type_, path)}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read the inputs {path}: {error}") from error
    arrays = read_arrays(path)
    if name and len(arrays) != 1:
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}; {name!r} takes one array")
    return {name or key: _as_it_is(array) for key, array in arrays.items()}


def _as_it_is(array: Array) -> Reader:
    return lambda _: array


def _from_bytes(data: bytes, type_: TensorType, path: Path) -> Array:
    import numpy as np

    from byoc.support.dtypes import numpy_dtype

    dtype = numpy_dtype(type_.dtype)
    shape = [size if isinstance(size, int) else -1 for size in type_.shape]
    try:
        return np.frombuffer(data, dtype).reshape(shape)
    except ValueError:
        raise InputError(
            f"{path} holds {len(data):,} bytes, which are no {type_}; "
            f"with several symbolic sizes give a .npy file"
        ) from None


def _picture(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise InputError(
            f"reading {path} needs Pillow: pip install 'tvm-byoc[images]', or give a .npy file"
        ) from None
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (SyntaxError, Image.DecompressionBombError) as error:  # as Pillow says it of bad files
        raise InputError(f"cannot read the picture {path}: {error}") from None


def _from_picture(picture: Any, type_: TensorType, path: Path) -> Array:
    """Resize to the input's height and width; channels stand where the type has 3 or 1 of them."""
    import numpy as np

    from byoc.support.dtypes import numpy_dtype

    shape = type_.shape
    channels_first = len(shape) == 4 and shape[1] in (1, 3)
    if len(shape) != 4 or not (channels_first or shape[3] in (1, 3)):
        raise InputError(f"{path} is a picture; no input of type {type_} (NCHW or NHWC) takes one")
    height, width = shape[2:] if channels_first else shape[1:3]
    channels = shape[1] if channels_first else shape[3]
    size = (
        width if isinstance(width, int) else picture.width,
        height if isinstance(height, int) else picture.height,
    )
    scaled = picture.resize(size)
    pixels = np.asarray(scaled if channels == 3 else scaled.convert("L"))
    pixels = pixels[None] if channels == 3 else pixels[None, :, :, None]
    dtype = numpy_dtype(type_.dtype)
    whole = np.issubdtype(dtype, np.integer)
    say(
        f"{path}: {picture.width} x {picture.height} resized to {size[0]} x {size[1]}, "
        f"{'RGB' if channels == 3 else 'grey'}, values {'0 to 255' if whole else '0 to 1'}; "
        f"a model that wants others takes a .npy file"
    )
    values = pixels.astype(dtype) if whole else (pixels / 255.0).astype(dtype)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if channels_first else values)


def _random_inputs(
    source: Path | None, executable: Any, dims: dict[str, int], seed: int
) -> dict[str, Array]:
    # An ONNX file tells how large the tables are that token ids look up; else ids are 0 or 1.
    from byoc.bench import random_inputs
    from byoc.support.arguments import check_sizes

    left_out = {port.name for port in executable.defaults}
    types = {p.name: p.type for p in executable.inputs if p.name not in left_out}
    known, limits = (None if source is None else _onnx_inputs(source)) or ({}, {})
    for name, type_ in known.items():
        if name in types and not types[name].is_static:
            types[name] = type_  # as the file calls its dimensions, some of which may be fixed now
    if source is None:  # compiling has looked at the dimensions of a model
        check_sizes(dims, (d for t in types.values() for d in t.shape if isinstance(d, str)))
    return random_inputs(types, seed, dims=dims, limits=limits)


def _onnx_inputs(path: Path) -> tuple[dict[str, TensorType], dict[str, int]] | None:
    """Types of the inputs of an ONNX file and limits of its token ids; None for other formats."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from byoc.bench import onnx_inputs

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        return None
    return onnx_inputs(model) if model.graph.node else None
