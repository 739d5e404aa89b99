"""PyTorch programs → a Relax function with source names.

exported.py    `torch.export` programs: parameters, buffers, ports, module paths
walk.py        a graph of ATen operators, node by node
context.py     what a converter is given
symbols.py     symbolic sizes, by name
converters.py  every operator's converter, from the files ops_*.py
"""

from byoc.frontends.torch.exported import ExportedModel, import_exported
from byoc.frontends.torch.walk import Opened, read_graph

__all__ = ["ExportedModel", "Opened", "import_exported", "read_graph"]
