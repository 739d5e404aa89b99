"""`NpuConfig`: the shape of one accelerator, read from a YAML file and checked field by field.

Every number of the architecture that docs/npu.md names is a field here; ``npu.yaml`` beside this
file holds the default machine.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from byoc.errors import OptionError

__all__ = ["DEFAULT_CONFIG", "NpuConfig", "explain", "load_config"]

DEFAULT_CONFIG = Path(__file__).parent / "npu.yaml"

_LARGEST = 1 << 28  # bytes of one scratchpad: addresses stay far from 32 bits


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Array(_Part):
    """The systolic array: rows x columns of int8 x int8 -> int32 multiply-accumulate cells."""

    rows: int = Field(16, ge=1, le=256)
    columns: int = Field(16, ge=1, le=256)
    dataflow: Literal["weight-stationary", "output-stationary"] = "weight-stationary"


class Activation(_Part):
    """Scratchpad for activations: `size` bytes in `banks`, each giving `word` bytes per cycle.

    Words are interleaved over the banks.
    """

    size: pydantic.ByteSize = Field(pydantic.ByteSize(192 << 10), ge=1024, le=_LARGEST)
    banks: int = Field(8, ge=1, le=64)
    word: int = Field(16, ge=1, le=256)


class Weight(_Part):
    """Scratchpad for weights, requantisation parameters and tables."""

    size: pydantic.ByteSize = Field(pydantic.ByteSize(64 << 10), ge=1024, le=_LARGEST)


class Accumulator(_Part):
    """Memory of int32 sums between the array and the vector unit."""

    size: pydantic.ByteSize = Field(pydantic.ByteSize(64 << 10), ge=256, le=_LARGEST, multiple_of=4)


class Dma(_Part):
    """The engines that copy between device memory and scratchpads; one reads, one writes.

    Args:
        width: Bytes per cycle of each.
        latency: Cycles from a request to its first byte.
        burst: Bytes of one request.
        outstanding: Requests in flight.
    """

    width: int = Field(16, ge=1, le=1024)
    latency: int = Field(64, ge=0, le=100_000)
    burst: int = Field(64, ge=1, le=65_536)
    outstanding: int = Field(16, ge=1, le=1024)


class VectorUnit(_Part):
    """The vector unit: `lanes` elements per cycle, `latency` cycles to the first result."""

    lanes: int = Field(16, ge=1, le=1024)
    latency: int = Field(8, ge=0, le=1000)


class Link(_Part):
    """The way between host memory and device memory."""

    gigabytes_per_second: float = Field(4.0, gt=0, le=10_000, allow_inf_nan=False)
    latency_us: float = Field(5.0, ge=0, le=1e6, allow_inf_nan=False)


class NpuConfig(_Part):
    """One accelerator. Sizes are bytes or strings like ``"192KiB"``."""

    array: Array = Array()
    activation: Activation = Activation()
    weight: Weight = Weight()
    accumulator: Accumulator = Accumulator()
    dma: Dma = Dma()
    vector: VectorUnit = VectorUnit()
    clock_mhz: float = Field(500.0, gt=0, le=100_000, allow_inf_nan=False)
    link: Link = Link()

    @property
    def acc_words(self) -> int:
        """Number of int32 sums the accumulator memory holds."""
        return self.accumulator.size // 4

    @property
    def peak_macs(self) -> int:
        """Multiply-accumulates per cycle of the array."""
        return self.array.rows * self.array.columns

    @cached_property
    def flat(self) -> dict[str, int]:
        """The machine as the simulator reads it: one integer per name."""
        return {
            "rows": self.array.rows,
            "columns": self.array.columns,
            "output_stationary": int(self.array.dataflow == "output-stationary"),
            "act_bytes": int(self.activation.size),
            "act_banks": self.activation.banks,
            "act_word": self.activation.word,
            "weight_bytes": int(self.weight.size),
            "acc_words": self.acc_words,
            "dma_width": self.dma.width,
            "dma_latency": self.dma.latency,
            "dma_burst": self.dma.burst,
            "dma_outstanding": self.dma.outstanding,
            "lanes": self.vector.lanes,
            "vector_latency": self.vector.latency,
            "clock_hz": round(self.clock_mhz * 1e6),
            "link_bytes_per_second": round(self.link.gigabytes_per_second * 1e9),
            "link_latency_ns": round(self.link.latency_us * 1e3),
        }


def explain(error: pydantic.ValidationError, where: str) -> str:
    """Return the message of a validation error: one line per field, with the value found.

    Args:
        error: What pydantic raised.
        where: The file, or what else was read.
    """
    lines = []
    for item in error.errors():
        name = ".".join(map(str, item["loc"])) or "(top level)"
        found = "" if item["type"] == "missing" else f" (found {item['input']!r:.60})"
        lines.append(f"{where}: {name}: {item['msg'][0].lower()}{item['msg'][1:]}{found}")
    return "\n".join(lines)


def load_config(source: str | Path | dict[str, Any] | NpuConfig | None = None) -> NpuConfig:
    """Return the accelerator that a file or mapping describes.

    Args:
        source: Path of a YAML file, its content as a mapping, or None for the default machine.
            Fields that are left out keep their defaults.

    Raises:
        OptionError: The file cannot be read or a field is not legal; the message names both.
    """
    if isinstance(source, NpuConfig):
        return source
    where = "npu config"
    if source is None:
        source = DEFAULT_CONFIG
    if isinstance(source, (str, Path)):
        where = str(source)
        try:
            loaded = yaml.safe_load(Path(source).read_text())
        except OSError as error:
            reason = error.strerror or error
            raise OptionError(f"{where}: the npu config cannot be read: {reason}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise OptionError(f"{where}: the npu config is not YAML: {error}") from error
        source = {} if loaded is None else loaded
    if not isinstance(source, dict):
        raise OptionError(
            f"{where}: expected a mapping of fields, found {type(source).__name__}; "
            f"legal: {', '.join(NpuConfig.model_fields)}"
        )
    try:
        return NpuConfig.model_validate(source)
    except pydantic.ValidationError as error:
        raise OptionError(explain(error, where)) from error
