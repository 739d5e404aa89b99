"""The cost model: seconds of composites, host ops, segments and borders of one function.

In: rates or measurements (`rates.py`), and the work of each op. Out: seconds, each worked out
once and kept: a search asks for the same figures thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byoc.errors import ByocError, VendorError
from byoc.partition.matching.match import GraphMatch, MatchedComposite
from byoc.partition.placing.rates import HOST_RATES, Costs
from byoc.partition.snapshot.flops import Work, op_work, type_bytes
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import HOST
from byoc.segment import TensorType
from byoc.vendor import Match, Rates, Vendor

__all__ = ["NOMINAL_DIM", "CostModel"]

NOMINAL_DIM = 64
"""What a symbolic dimension counts as, where a cost needs a number."""

HOST_PROCESSOR = "cpu"

# Only another look at the same memory: the host does nothing for them.
_VIEWS = frozenset({"reshape", "flatten", "squeeze", "expand_dims", "nn.batch_flatten",
                    "match_cast", "tuple_get_item", "nn.dropout"})  # fmt: skip

# Ops with a loop of their own; all others join the kernel of what they read.
_OWN_KERNEL = frozenset({
    "matmul", "nn.conv1d", "nn.conv2d", "nn.conv3d", "nn.conv1d_transpose", "nn.conv2d_transpose",
    "nn.conv3d_transpose", "nn.attention", "nn.attention_bias", "nn.softmax", "nn.log_softmax",
    "nn.layer_norm", "nn.group_norm", "nn.instance_norm", "nn.rms_norm", "nn.batch_norm", "nn.lrn",
    "sum", "mean", "max", "min", "prod", "std", "variance", "argmax", "argmin", "cumsum",
    "cumprod", "sort", "argsort", "topk", "concat", "split", "take", "nn.pad", "scatter_elements",
    "scatter_nd", "nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d", "nn.avg_pool1d",
    "nn.avg_pool2d", "nn.avg_pool3d", "nn.adaptive_avg_pool1d", "nn.adaptive_avg_pool2d",
    "nn.adaptive_avg_pool3d", "nn.max_pool2d_grad", "image.resize2d",
})  # fmt: skip


class CostModel:
    """Predicted or measured seconds in one function, each worked out once.

    Attributes:
        whole_segments: whether some segment's figure was measured as a whole, so that it is not the
            sum of its composites.

    Args:
        graph: snapshot of the function.
        vendors: name → vendor.
        costs: rates that replace the vendors' own, and what was measured.
        work: operations and bytes of each op.
    """

    def __init__(
        self, graph: OpGraph, vendors: Mapping[str, Vendor], costs: Costs, work: Work
    ) -> None:
        self._graph = graph
        self._vendors = vendors
        self._costs = costs
        self._work = work
        self._rates: dict[str, Rates] = {HOST: costs.of(HOST, None)}
        self._rates.update({name: costs.of(name, vendor) for name, vendor in vendors.items()})
        self._estimates = {
            name: vendor.estimate
            for name, vendor in vendors.items()
            if vendor.estimate is not Vendor.__dataclass_fields__["estimate"].default
        }
        self.whole_segments = False
        """Whether some segment's figure is not the sum of its composites."""
        self._composites: dict[int, tuple[MatchedComposite, float]] = {}
        self._shares: dict[int, tuple[MatchedComposite, dict[int, float]]] = {}
        self._host: dict[int, tuple[float, float]] = {}
        self._nominal: dict[int, tuple[float, float]] = {}
        self._sizes: list[int] = [-1] * len(graph.values.types)
        self._borders: dict[tuple[str, str, int], float] = {}
        self._fused: dict[int, int] = {}
        self._single: dict[tuple[int, int], float] = {}
        self._moved: dict[tuple[int, ...], int] = {}

    # -- work --------------------------------------------------------------------------------------

    def size(self, value: int) -> int:
        """Bytes of a value; symbolic dimensions count as `NOMINAL_DIM`, no tensor as 0."""
        found = self._sizes[value]
        if found < 0:
            known = self._work.size(value)
            if known is None:
                kind = self._graph.values.types[value]
                known = 0 if kind is None else type_bytes(_nominal(kind)) or 0
            found = self._sizes[value] = known
        return found

    def _of_node(self, node: int) -> tuple[float, float]:
        """Operations and bytes of an op."""
        known = self._work[node]
        if known.flops is not None and known.bytes is not None:
            return known.flops, known.bytes
        found = self._nominal.get(node)
        if found is None:
            graph = self._graph
            reads = [_known(graph.values.types[v]) for v in graph.ops.ins[node]]
            writes = [_known(graph.values.types[v]) for v in graph.ops.outs[node]]
            again = op_work(graph.ops.kind[node], graph.attrs(node), reads, writes)
            moved = sum(self.size(v) for v in (*graph.ops.ins[node], *graph.ops.outs[node]))
            found = self._nominal[node] = (again.least, moved)
        return found

    def _roofline(self, rates: Rates, nodes: Sequence[int]) -> float:
        graph = self._graph
        if len(nodes) == 1:
            # Ops of equal kind and types share their work: one answer for all of them.
            key = (id(rates), id(self._work[nodes[0]]))
            found = self._single.get(key)
            if found is None:
                flops, moved = self._of_node(nodes[0])
                rate = rates.by_op.get(graph.ops.kind[nodes[0]], rates.flops)
                found = self._single[key] = max(flops / rate, moved / rates.bytes)
            return found
        nodes = tuple(nodes)
        busy = sum(
            [self._of_node(n)[0] / rates.by_op.get(graph.ops.kind[n], rates.flops) for n in nodes]
        )
        total = self._moved.get(nodes)
        if total is None:
            made = {v for n in nodes for v in graph.ops.outs[n]}
            read = {v for n in nodes for v in graph.ops.ins[n]}
            total = sum([self.size(v) for v in read - made])
            total += sum([self.size(v) for v in graph.ops.outs[nodes[-1]]])
            self._moved[nodes] = total
        return max(busy, total / rates.bytes)

    # -- seconds -----------------------------------------------------------------------------------

    def processor(self, backend: str) -> str:
        """The processor whose queue a backend (a vendor or "host") runs on."""
        return HOST_PROCESSOR if backend == HOST else self._vendors[backend].processor

    def launch(self, backend: str) -> float:
        """Seconds of one call of a backend."""
        return self._rates[backend].launch

    def composite(self, composite: MatchedComposite) -> float:
        """Seconds of a composite inside a segment, without launch and borders.

        Raises:
            VendorError: the vendor's `estimate` gives what is no time.
        """
        found = self._composites.get(id(composite))
        if found is None:  # the composite is kept: its id stays its own
            found = self._composites[id(composite)] = (composite, self._composite(composite))
        return found[1]

    def share(self, composite: MatchedComposite, node: int) -> float:
        """The part of a composite's seconds that is due to one of its ops, by work.

        Args:
            composite: a composite.
            node: one of its ops.

        Returns:
            A share, 0..1; those of all its ops add up to 1.
        """
        found = self._shares.get(id(composite))
        if found is None:
            rates = self._rates[composite.vendor]
            parts = [self._roofline(rates, (n,)) for n in composite.nodes]
            whole = sum(parts)
            even = 1 / len(parts)
            shares = {
                n: part / whole if whole > 0 else even
                for n, part in zip(composite.nodes, parts, strict=True)
            }
            found = self._shares[id(composite)] = (composite, shares)  # kept: its id stays its own
        return found[1][node]

    def _composite(self, composite: MatchedComposite) -> float:
        vendor, nodes = composite.vendor, composite.nodes
        measured, estimate = self._costs.measured, self._estimates.get(vendor)
        if measured is not None or estimate is not None:
            match = self._match(composite.pattern, nodes, composite.parts, vendor)
            if measured is not None:
                seconds = measured.piece(vendor, match)
                if seconds is not None:
                    return seconds
            if estimate is not None:
                seconds = self._estimate(estimate, match, composite)
                if seconds is not None:
                    return seconds
        return self._roofline(self._rates[vendor], nodes)

    def _estimate(
        self,
        estimate: Callable[[Match], float | None],
        match: Match,
        composite: MatchedComposite,
    ) -> float | None:
        """What the vendor itself predicts, checked."""
        last = composite.nodes[-1]
        who = f"vendor author: estimate of {composite.vendor!r}"
        where = (
            f"for pattern {composite.pattern!r} on {self._graph.ops.kind[last]} "
            f"({self._graph.ops.names[last]})"
        )
        try:
            seconds: Any = estimate(match)
        except ByocError:  # it says what is wrong by itself
            raise
        except Exception as error:
            raise VendorError(
                f"{who} raised {type(error).__name__} {where}: {error}; return None where "
                f"nothing is known"
            ) from error
        if seconds is None:
            return None
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise VendorError(f"{who} gave {seconds!r} {where}; expected seconds, 0 or more")
        return float(seconds)

    def host(self, node: int, fused: bool) -> float:
        """Seconds of an op on the host.

        Args:
            node: the op.
            fused: whether the op that `fused_with` names is on the host too: then both are one
                kernel.
        """
        found = self._host.get(node)
        if found is None:
            found = self._host[node] = self._host_pair(node)
        return found[fused]

    def _host_pair(self, node: int) -> tuple[float, float]:
        measured = self._costs.measured
        if measured is not None:
            seconds = measured.piece(HOST, self._match("", (node,), {}, HOST))
            if seconds is not None:
                return seconds, seconds
        if self._graph.ops.kind[node] in _VIEWS:
            return 0.0, 0.0
        rates = self._rates[HOST]
        lone = rates.launch + self._roofline(rates, (node,))
        fed = self.fused_with(node)
        if fed < 0:
            return lone, lone
        # Its first operand stays in registers; what else it reads and writes replaces the write.
        flops, moved = self._of_node(node)
        saved = sum(self.size(v) for v in self._graph.ops.outs[fed])
        rate = rates.by_op.get(self._graph.ops.kind[node], rates.flops)
        return lone, max(flops / rate, max(moved - 2 * saved, 0) / rates.bytes)

    def fused_with(self, node: int) -> int:
        """The op whose kernel this one joins when both are on the host, else -1."""
        found = self._fused.get(node)
        if found is None:
            found = self._fused[node] = self._producer_to_join(node)
        return found

    def _producer_to_join(self, node: int) -> int:
        graph = self._graph
        if graph.ops.kind[node] in _OWN_KERNEL or graph.ops.opaque[node]:
            return -1
        for value in graph.ops.ins[node]:
            before = graph.values.producer[value]
            if (
                before >= 0
                and not graph.ops.opaque[before]
                and len(graph.ops.outs[before]) == 1
                and set(graph.values.users[value]) == {node}
                and graph.ops.scope[before] == graph.ops.scope[node]
            ):
                return before
        return -1

    def segment(self, vendor: str, nodes: Sequence[int]) -> float | None:
        """Measured seconds of a whole segment, launch included, borders not.

        Args:
            vendor: its name.
            nodes: the ops of the segment, topological.

        Returns:
            Seconds, or None when it was not measured: add up its composites.
        """
        measured = self._costs.measured
        if measured is None:
            return None
        seconds = measured.segment(vendor, self._match("", nodes, {}, vendor))
        self.whole_segments |= seconds is not None
        return seconds

    def border(self, source: str, target: str, nbytes: int) -> float:
        """Seconds for one tensor from one backend to another.

        Args:
            source: a vendor or "host".
            target: a vendor or "host".
            nbytes: size of the tensor.
        """
        key = (source, target, nbytes)
        found = self._borders.get(key)
        if found is None:
            measured = self._costs.measured
            found = measured.border(source, target, nbytes) if measured is not None else None
            if found is None:
                found = self._side(source, nbytes) + self._side(target, nbytes)
            self._borders[key] = found
        return found

    def _side(self, backend: str, nbytes: int) -> float:
        rates = self._rates[backend]
        return rates.border + nbytes / rates.border_bytes

    def _match(
        self, pattern: str, nodes: Sequence[int], parts: Mapping[str, int], who: str
    ) -> Match:
        return GraphMatch(self._graph, pattern, nodes, parts, who)


assert HOST_RATES.border == 0, "what stays on the host crosses nothing"


def _nominal(kind: TensorType) -> TensorType:
    if kind.is_static:
        return kind
    return TensorType(
        tuple([d if isinstance(d, int) else NOMINAL_DIM for d in kind.shape]), kind.dtype
    )


def _known(kind: TensorType | None) -> TensorType | None:
    return None if kind is None else _nominal(kind)
