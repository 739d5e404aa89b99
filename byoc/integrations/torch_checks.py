"""What torch checks in eager mode and its tracing forgets, said by operators that are traced.

`one_hot` refuses classes that do not exist; traced, it is a comparison with 0, 1, …, which gives a
row of zeros for them. A look-up of the class in that list comes first, which refuses it.
"""

from __future__ import annotations

import torch

__all__ = ["keep_checks"]


def _one_hot(tensor: torch.Tensor, num_classes: int = -1) -> torch.Tensor:
    if num_classes > 0 and tensor.numel() != 0:
        classes = torch.arange(num_classes, device=tensor.device)
        tensor = classes.index_select(0, tensor.reshape(-1)).reshape(tensor.shape)
    return torch.nn.functional.one_hot(tensor, num_classes)


_CHECKED = {torch.nn.functional.one_hot: _one_hot, torch.ops.aten.one_hot.default: _one_hot}


def keep_checks(graph: torch.fx.GraphModule) -> None:
    """Write the checks into a graph that Dynamo has captured.

    Args:
        graph: It is changed.
    """
    found = False
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _CHECKED:
            node.target = _CHECKED[node.target]
            found = True
    if found:
        graph.recompile()
