"""Segments built once and timed: what a vendor says, or how long its code takes.

In: segments of any plan. Out: their artifacts and seconds, from the store where they are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf

from byoc.build.kernels import build_apart
from byoc.build.lone_segment import lone_plan
from byoc.build.segments import compile_segment, vendor_use
from byoc.errors import ByocError
from byoc.measure.queue_hop import time_queue_hop
from byoc.plugins.discovery import Requested
from byoc.runtime import num_threads
from byoc.runtime.host_library import load_host
from byoc.runtime.native import as_tensor
from byoc.runtime.plan import Plan
from byoc.runtime.program import PortCounts
from byoc.runtime.vendor_runtimes import bind
from byoc.segment import Array, Artifact, HostArtifact, Segment, TensorType
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import aligned_empty, aligned_zeros
from byoc.timing.inputs import random_inputs
from byoc.timing.keys import digest, machine_name, place_identity, segment_content
from byoc.timing.probes import Probe, plan_probe, time_probes
from byoc.timing.store import Store, Timed

__all__ = ["REVISION", "SegmentTimer", "draw", "machine"]

REVISION = 1
"""Counts changes of byoc that make earlier timings wrong."""

_BATCH = 6
_HOST_QUEUE = "cpu"
_SECONDS = 0.06  # per segment


def machine() -> str:
    """Name the machine and the number of byoc's threads on it, as a store tells them apart.

    Returns:
        Text that is equal for runs whose times can be compared.
    """
    return f"{machine_name()}, {num_threads()} threads"


def draw(kind: TensorType, seed: int) -> Array:
    """Draw random values of a type, in memory as host kernels want it.

    Args:
        kind: a type of known shape.
        seed: of the random numbers.

    Returns:
        A fresh array whose memory begins at a multiple of 64 bytes.
    """
    dtype = numpy_dtype(kind.dtype)
    array = aligned_empty(_shape(kind), dtype)
    known = kind.dtype if dtype.kind in "fiub" else "float32"
    array[...] = random_inputs({"x": TensorType(kind.shape, known)}, seed)["x"].astype(array.dtype)
    return array


class SegmentTimer:
    """Compiles segments, each once, and times them.

    Args:
        requests: the vendors that were asked for.
        store: where measurements come from and go to.
    """

    def __init__(self, requests: Sequence[Requested], store: Store) -> None:
        self.requests = requests
        self.store = store
        self.machine = machine()
        self._uses = {r.vendor.name: vendor_use(r) for r in requests}
        self._built: dict[object, Artifact | HostArtifact | ByocError] = {}
        self._timed: dict[str, Timed] = {}
        self._contents: dict[int, tuple[Segment, tuple[str, str]]] = {}
        self.compiled = 0
        self.measured = 0

    def identity(self, vendor: str) -> str:
        """Name a vendor with its version and options, as keys of the store do."""
        use = self._uses[vendor]
        return place_identity(vendor, use.version, use.options, use.processor)

    def content(self, segment: Segment) -> tuple[str, str]:
        """Digest what a segment computes (`byoc.timing.keys.segment_content`), worked out once."""
        found = self._contents.get(id(segment))
        if found is None:
            found = self._contents[id(segment)] = (segment, segment_content(segment))
        return found[1]

    def key(self, segment: Segment) -> str:
        """The key under which the store keeps a segment's time."""
        whole = self.content(segment)[1]
        return digest("segment", REVISION, whole, self.identity(segment.vendor), self.machine)

    # -- building ----------------------------------------------------------------------------------

    def artifact(self, segment: Segment) -> Artifact | HostArtifact:
        """Compile a segment, or find it compiled.

        Args:
            segment: any segment; equal ones are compiled once.

        Returns:
            Its artifact, under its name.

        Raises:
            ByocError: what its vendor raised, each time.
        """
        arrays = [a.__array_interface__["data"][0] for a in segment.constants.values()]
        key = (segment.vendor, self.content(segment)[1], tuple(arrays))
        found = self._built.get(key)
        if found is None:
            self.compiled += 1
            try:
                found = compile_segment(segment, self.requests)
            except ByocError as error:
                found = error
            self._built[key] = found
        if isinstance(found, ByocError):
            raise found
        if found.segment != segment.name:
            return replace(found, segment=segment.name)
        return found

    def forget(self, segment: Segment) -> None:
        """Let go of the artifact of a segment that no plan needs."""
        arrays = [a.__array_interface__["data"][0] for a in segment.constants.values()]
        self._built.pop((segment.vendor, self.content(segment)[1], tuple(arrays)), None)

    # -- timing ------------------------------------------------------------------------------------

    def known(self, segment: Segment) -> Timed | None:
        """Look up what this run or an earlier one has measured.

        Args:
            segment: any segment.

        Returns:
            Its seconds, infinite for one that its vendor refuses; None: not measured yet.
        """
        key = self.key(segment)
        found = self._timed.get(key)
        if found is None:
            found = self.store.get(key)
            if found is not None:
                self._timed[key] = found
        return found

    def time(
        self,
        segments: Sequence[Segment],
        *,
        kind: str = "segment",
        enough: Callable[[], bool] = lambda: False,
        done: Callable[[int], None] = lambda count: None,
        keep: bool = True,
    ) -> None:
        """Measure the segments that are not known yet, a few side by side.

        Args:
            segments: what to time.
            kind: what the store calls them: "segment", or "piece" for a lone composite.
            enough: asked before each batch; once true, the rest stays unknown.
            done: told how many were looked at.
            keep: hold the compiled segments for `artifact`.
        """
        for batch in _batches(segments, _BATCH):
            if enough():
                return
            probes: list[tuple[Segment, Probe]] = []
            for segment in {self.key(s): s for s in batch if self.known(s) is None}.values():
                if not segment.is_static:
                    continue
                try:
                    probes.append((segment, self._probe(segment)))
                except ByocError as error:
                    self._record(segment, Timed(inf, error=str(error)), kind)
            times = time_probes([p for _, p in probes], seconds=_SECONDS * len(probes))
            for (segment, _), timed in zip(probes, times, strict=True):
                self._record(segment, timed, kind)
                if not keep:
                    self.forget(segment)
            done(len(batch))

    def queue_hop(self, processor: str) -> float:
        """Seconds to pass work from the host's queue to another one.

        Args:
            processor: the other queue, as vendors name theirs.

        Returns:
            Seconds of one hop, 0 for the host's own queue; measured once and kept in the store.
        """
        if processor == _HOST_QUEUE:
            return 0.0
        key = digest("handoff", REVISION, _HOST_QUEUE, processor, self.machine)
        found = self._timed.get(key) or self.store.get(key)
        if found is None:
            found = time_queue_hop(_HOST_QUEUE, processor)
            self.store.put(
                key,
                found,
                kind="handoff",
                place=f"{processor} queue",
                machine=self.machine,
                what=f"from {_HOST_QUEUE} to {processor}",
            )
        self._timed[key] = found
        return found.seconds

    def _record(self, segment: Segment, timed: Timed, kind: str) -> None:
        self.measured += 1
        key = self.key(segment)
        self._timed[key] = timed
        ops = [node.op for node in segment.nodes]
        what = f"{len(ops)} ops: {', '.join(ops[:4])}{', …' if len(ops) > 4 else ''}"
        self.store.put(
            key,
            timed,
            kind=kind,
            place=self.identity(segment.vendor),
            machine=self.machine,
            what=what,
        )

    def _probe(self, segment: Segment) -> Probe:
        artifact = self.artifact(segment)
        if isinstance(artifact, HostArtifact):
            return _kernels_probe(segment, artifact)
        ports = PortCounts(len(segment.inputs), len(segment.outputs))
        execute = bind(artifact, self._uses[segment.vendor], ports, signature=segment.signature)
        plan, arrays = _lone_task(segment, self._uses[segment.vendor].processor)
        probe = plan_probe(
            plan, None, {segment.name: execute}, {segment.name: segment.vendor}, [], arrays
        )
        probe.start()
        return probe


def _kernels_probe(segment: Segment, artifact: HostArtifact) -> Probe:
    """The kernels of a segment as a plan of a model has them: no call of a segment around."""
    apart = build_apart(segment, artifact)
    module = load_host(apart.library, vm=False)
    constants = [as_tensor(array) for array in apart.constants]
    probe = plan_probe(apart.plan, module, {}, {}, constants, _arrays(segment))
    probe.start()
    return probe


def _arrays(segment: Segment) -> list[Array]:
    """Memory for the inputs, with random values, and for the outputs."""
    arrays = [draw(segment.type(v), k) for k, v in enumerate(segment.inputs)]
    writes = [segment.type(v) for v in segment.outputs]
    return [*arrays, *(aligned_zeros(_shape(t), numpy_dtype(t.dtype)) for t in writes)]


def _lone_task(segment: Segment, processor: str) -> tuple[Plan, list[Array]]:
    """A plan that only calls the segment, and memory for it."""
    reads = [segment.type(v) for v in segment.inputs]
    writes = [segment.type(v) for v in segment.outputs]
    return lone_plan(segment.name, reads, writes, processor), _arrays(segment)


def _shape(kind: TensorType) -> tuple[int, ...]:
    return tuple(int(d) for d in kind.shape)


def _batches(segments: Sequence[Segment], size: int) -> Iterator[Sequence[Segment]]:
    for start in range(0, len(segments), size):
        yield segments[start : start + size]
