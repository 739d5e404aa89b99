"""What every way of placing ops has to obey, as one value.

In: what users pass as ``policy=``, ``costs=`` and smallest segments, and the placement rules that
the model's own file holds. Out: `PlacementConstraints`, which partition a module under all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from byoc.errors import OptionError
from byoc.placement.policy_file import resolve_policy

if TYPE_CHECKING:
    import tvm

    from byoc.partition import PartitionResult
    from byoc.partition.placing import Costs, Strategy
    from byoc.partition.placing.policy import Policy, Rule
    from byoc.vendor import Vendor

__all__ = ["PlacementConstraints", "resolve_constraints"]


@dataclass(frozen=True)
class PlacementConstraints:
    """What a placement has to obey, whichever strategy finds it.

    Attributes:
        policy: rules and limits; None: none.
        costs: figures to predict from; None: the vendors' own.
        min_segment_ops: segments with fewer ops stay on the host; None: the strategy's default.
        min_segment_flops: segments with less work (floating-point operations) stay on the host.
    """

    policy: Policy | None = None
    costs: Costs | None = None
    min_segment_ops: int | None = None
    min_segment_flops: float | None = None

    def after(self, rules: Sequence[Rule], vendors: Sequence[Vendor]) -> PlacementConstraints:
        """Put the placement rules that a model's file holds before these constraints, which win.

        Args:
            rules: `byoc.frontends.Model.rules`.
            vendors: those of this run.

        Returns:
            The constraints with both.

        Raises:
            OptionError: the file places operators on a vendor that is not among `vendors`.
        """
        if not rules:
            return self
        from byoc.partition.placing.policy import Policy

        names = [vendor.name for vendor in vendors]
        for rule in rules:
            if rule.place not in names:
                raise OptionError(
                    f"{rule.at}the model places operators on {rule.place!r}, which is not among "
                    f"the vendors of this run ({', '.join(names) or 'none'}): add it to vendors=, "
                    f"or ignore what the file says with "
                    f"byoc.frontends.read_relay(…, placement=False)"
                )
        own = self.policy or Policy()
        return replace(self, policy=replace(own, rules=(*rules, *own.rules)))

    def partition(
        self, mod: tvm.IRModule, vendors: Sequence[Vendor], placement: str | Strategy
    ) -> PartitionResult:
        """Split a module among vendors under these constraints.

        Args:
            mod: Relax in normal form, as `byoc.frontends` delivers it; not changed.
            vendors: who may take ops, in the order of their preference.
            placement: "order", "model", or a `Strategy`.

        Returns:
            The module with one function per segment, the segments, and the report.

        Raises:
            OptionError: constraints that no placement can obey, or that do not fit the vendors.
            VendorError: a vendor breaks its contract.
        """
        from byoc.partition import partition_module

        return partition_module(
            mod,
            vendors,
            placement=placement,
            policy=self.policy,
            costs=self.costs,
            min_segment_ops=self.min_segment_ops,
            min_segment_flops=self.min_segment_flops,
        )


def resolve_constraints(
    policy: Policy | str | os.PathLike[str] | None,
    costs: Costs | None,
    min_segment_ops: int | None,
    min_segment_flops: float | None,
) -> PlacementConstraints:
    """Read what users say about constraints.

    Args:
        policy: a policy, or the path of the YAML file that holds one.
        costs: figures to predict from.
        min_segment_ops: fewest ops of a segment.
        min_segment_flops: least work of a segment, in floating-point operations.

    Returns:
        The constraints.

    Raises:
        OptionError: `policy` is neither, or its file is not legal.
    """
    return PlacementConstraints(resolve_policy(policy), costs, min_segment_ops, min_segment_flops)
