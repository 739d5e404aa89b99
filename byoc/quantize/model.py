"""`quantize_model`: calibrate, quantise, correct, and keep in float what loses too much.

float model ─prepare─▶ units ─calibrate─▶ ranges ─insert─▶ QDQ model ─measure─▶ signal to noise
                                                    ▲                              │
                                                    └── most sensitive unit out ◀──┘  (max_drop)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from byoc.errors import ArtifactError, InputError, ModelError, OptionError, choices
from byoc.quantize.graph import OnnxGraph
from byoc.quantize.insert import insert_qdq, probe_name, probes
from byoc.quantize.ranges import METHODS, Method, Observer, QuantParams, choose_params
from byoc.quantize.runner import batches, engine_name, make_runner
from byoc.quantize.units import SAME_SCALE, Unit, find_units
from byoc.segment import Array
from byoc.support.files import atomic_write

__all__ = ["LayerReport", "QuantizedModel", "quantize_model"]

_SEE_AT_ONCE = 48  # intermediate tensors held at a time, per sample
_MEASURED = 16  # samples that measure the signal-to-noise ratio


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What became of one unit.

    Attributes:
        name: Of its first node.
        op: ONNX operator of that node.
        snr_db: Signal-to-noise ratio in dB when it alone is quantised.
        quantised: Whether it is quantised in the model.
        reason: Why not.

    """

    name: str
    op: str
    snr_db: float
    quantised: bool
    reason: str = ""


@dataclass(frozen=True)
class QuantizedModel:
    """An int8 QDQ model and what it costs.

    Attributes:
        model: The ONNX model.
        params: Tensor → scale and zero point.
        layers: Every unit.
        snr_db: Signal-to-noise ratio of the outputs in dB, over the calibration samples.
        samples: How many there were.
        engine: What ran the samples.

    """

    model: onnx.ModelProto
    params: Mapping[str, QuantParams]
    layers: tuple[LayerReport, ...]
    snr_db: float
    samples: int
    engine: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ONNX file, whole or not at all (`byoc.support.files.atomic_write`).

        Raises:
            ArtifactError: The file cannot be written.

        """
        try:
            with atomic_write(path) as file:
                file.write(self.model.SerializeToString())
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be written: {error.strerror}") from error


def quantize_model(
    model: str | os.PathLike[str] | onnx.ModelProto,
    calibration: Any,
    *,
    method: Method = "minmax",
    percentile: float = 99.99,
    activations: Literal["uint8", "int8"] = "uint8",
    bias_correction: bool = True,
    max_drop: float | None = None,
    exclude: Iterable[str] = (),
    limit: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> QuantizedModel:
    """Quantise a float model after training.

    Weights become int8, symmetric, with a scale for each output channel; activations one scale and
    zero point each, chosen by `method` from what the samples show.

    Args:
        model: An ONNX file or model, float32.
        calibration: Input name → array [n, ...], cut along the first axis; or one array; or a
            sequence of dicts, one per run.
        method: How ranges are chosen: "minmax", "percentile" or "entropy".
        percentile: Share of values inside the range, for method "percentile".
        activations: "uint8" or "int8"; both are symmetric to engines, some are quicker on one.
        bias_correction: Move biases by what rounding the weights moved each channel's mean.
        max_drop: Largest relative error of the outputs (0.05: a signal-to-noise ratio of 26 dB);
            the most sensitive units stay in float until it is met.
        exclude: Names of nodes that stay in float.
        limit: Use at most so many runs.
        progress: Told, in one line, what is done.

    Returns:
        The model, and what each unit of it loses.

    Raises:
        ModelError: The model cannot be read, or holds nothing to quantise.
        InputError: The samples do not fit its inputs.
        OptionError: An argument is not legal.

    """
    if method not in METHODS:
        raise OptionError(f"unknown calibration method {method!r}; {choices(method, METHODS)}")
    if activations not in ("uint8", "int8"):
        raise OptionError(f"activations {activations!r}; legal: int8, uint8")
    if not 50 < percentile <= 100:
        raise OptionError(f"percentile is {percentile}, legal: over 50 up to 100")
    if max_drop is not None and not 0 < max_drop < 1:
        raise OptionError(f"max_drop is {max_drop}, legal: between 0 and 1")
    graph = OnnxGraph(_read(model))
    units = find_units(graph)
    unwanted = set(exclude)
    known = {node.name for unit in units for node in unit.nodes}
    if not unwanted <= known:
        bad = sorted(unwanted - known)[0]
        raise OptionError(f"exclude: no quantisable node {bad!r}; {choices(bad, known)}")
    float_units = {u.name for u in units if any(n.name in unwanted for n in u.nodes)}
    chosen = [u for u in units if u.name not in float_units]
    if not chosen:
        raise ModelError("nothing to quantise: the model holds no op that int8 engines compute")
    samples = list(batches(_inputs(graph), calibration, limit))
    if not samples:
        raise InputError("calibration: no samples")
    calibration_run = _Calibration(graph, units, samples, progress)
    params = calibration_run.params(method, percentile, activations)
    means = calibration_run.means if bias_correction else None
    local = _local_snr(graph, units, params, means, samples, progress)
    measure = _Measure(graph, params, means, samples)
    built = insert_qdq(graph, chosen, params, means)
    snr = measure(built)
    reasons = dict.fromkeys(float_units, "excluded")
    if max_drop is not None and snr < (target := -20 * np.log10(max_drop)):
        progress(f"{snr:.1f} dB, {target:.1f} dB wanted: looking for sensitive layers")
        ranked = sorted(chosen, key=lambda u: local[u.name])
        count = _fewest(ranked, target, graph, params, means, measure)
        for unit in ranked[:count]:
            reasons[unit.name] = f"{local[unit.name]:.1f} dB alone; needed for max_drop"
        chosen = [u for u in chosen if u.name not in reasons]
        built = insert_qdq(graph, chosen, params, means)
        snr = measure(built)
    layers = tuple(
        LayerReport(
            u.name, u.nodes[0].op_type, local[u.name], u.name not in reasons,
            reasons.get(u.name, ""),
        )
        for u in units
    )  # fmt: skip
    built.producer_name = "byoc"
    return QuantizedModel(built, params, layers, snr, len(samples), engine_name())


def _read(model: str | os.PathLike[str] | onnx.ModelProto) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        return onnx.load(model)
    except OSError as error:
        raise ModelError(f"{os.fspath(model)}: cannot be read: {error.strerror}") from error
    except Exception as error:
        raise ModelError(f"{os.fspath(model)}: this is no ONNX model: {error}") from error


def _inputs(graph: OnnxGraph) -> Sequence[onnx.ValueInfoProto]:
    return [i for i in graph.model.graph.input if i.name in graph.inputs]


class _Calibration:
    """Ranges, histograms and means of every tensor of every unit."""

    def __init__(
        self,
        graph: OnnxGraph,
        units: Sequence[Unit],
        samples: Sequence[Mapping[str, Array]],
        progress: Callable[[str], None],
    ) -> None:
        self.units = units
        self.observers: dict[str, Observer] = {}
        self.means: dict[str, npt.NDArray[np.float64]] = {}
        wanted = list(dict.fromkeys(t for u in units for t in (*u.data, u.output)))
        weighted = {u.data[0]: u for u in units if u.weight is not None}
        for first in range(0, len(wanted), _SEE_AT_ONCE):
            names = wanted[first : first + _SEE_AT_ONCE]
            inner = tuple(n for n in names if n not in graph.inputs and n not in graph.outputs)
            run = make_runner(graph.write(inner))
            for name in names:
                self.observers[name] = Observer()
            for look in ("range", "values"):
                for number, sample in enumerate(samples):
                    progress(f"calibrating: {look} {number + 1} of {len(samples)}")
                    seen = {**sample, **run(sample)}
                    for name in names:
                        self._see(name, seen[name], look, weighted.get(name), len(samples))

    def _see(self, name: str, values: Array, look: str, unit: Unit | None, count: int) -> None:
        if not np.issubdtype(values.dtype, np.floating):
            raise ModelError(f"tensor {name!r} is {values.dtype}, only float32 is quantised")
        observer = self.observers[name]
        if look == "range":
            observer.see_range(values)
            return
        observer.see_values(values)
        if unit is not None:
            axis = 1 if unit.nodes[0].op_type == "Conv" else values.ndim - 1
            others = tuple(i for i in range(values.ndim) if i != axis)
            mean = values.mean(axis=others, dtype=np.float64) / count
            self.means[name] = self.means.get(name, np.zeros(mean.shape)) + mean

    def params(self, method: Method, percentile: float, dtype: str) -> dict[str, QuantParams]:
        """Scale and zero point of every tensor."""
        result = {
            name: choose_params(observer, method, percentile, dtype)
            for name, observer in self.observers.items()
        }
        for unit in self.units:
            if unit.nodes[0].op_type in SAME_SCALE:
                result[unit.output] = result[unit.data[0]]
        return result


def _snr_db(signal: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(max(signal, 1e-300) / noise))


def _local_snr(
    graph: OnnxGraph,
    units: Sequence[Unit],
    params: Mapping[str, QuantParams],
    means: Mapping[str, npt.NDArray[np.float64]] | None,
    samples: Sequence[Mapping[str, Array]],
    progress: Callable[[str], None],
) -> dict[str, float]:
    """Unit -> signal-to-noise ratio of its result when it alone is quantised."""
    result: dict[str, float] = {}
    for first in range(0, len(units), _SEE_AT_ONCE):
        part = units[first : first + _SEE_AT_ONCE]
        run = make_runner(probes(graph, part, params, means))
        signal: dict[str, float] = dict.fromkeys((u.name for u in part), 0.0)
        noise = dict(signal)
        for number, sample in enumerate(samples[:_MEASURED]):
            progress(f"measuring layers: {number + 1} of {min(len(samples), _MEASURED)}")
            seen = run(sample)
            for unit in part:
                real = seen[unit.output].astype(np.float64)
                error = seen[probe_name(unit)] - real
                signal[unit.name] += float((real**2).sum())
                noise[unit.name] += float((error**2).sum())
        result |= {name: _snr_db(signal[name], noise[name]) for name in signal}
    return result


class _Measure:
    """Signal-to-noise ratio of a quantised model's outputs; the float ones are kept."""

    def __init__(
        self,
        graph: OnnxGraph,
        params: Mapping[str, QuantParams],
        means: object,
        samples: Sequence[Mapping[str, Array]],
    ) -> None:
        self.samples = samples[:_MEASURED]
        run = make_runner(graph.write())
        self.real = [run(sample) for sample in self.samples]

    def __call__(self, model: onnx.ModelProto) -> float:
        run = make_runner(model)
        signal = noise = 0.0
        for sample, real in zip(self.samples, self.real, strict=True):
            found = run(sample)
            for name, values in real.items():
                if np.issubdtype(values.dtype, np.floating):
                    signal += float((values.astype(np.float64) ** 2).sum())
                    noise += float(((found[name].astype(np.float64) - values) ** 2).sum())
        return _snr_db(signal, noise)


def _fewest(
    ranked: Sequence[Unit],
    target: float,
    graph: OnnxGraph,
    params: Mapping[str, QuantParams],
    means: Mapping[str, npt.NDArray[np.float64]] | None,
    measure: _Measure,
) -> int:
    """How many of the most sensitive units must stay in float, by bisection."""
    low, high = 1, len(ranked)
    while low < high:
        middle = (low + high) // 2
        snr = measure(insert_qdq(graph, ranked[middle:], params, means))
        low, high = (low, middle) if snr >= target else (middle + 1, high)
    return low
