"""Our own converters, for operators that TVM's importer gets wrong or hides from patterns.

TVM writes `Clip`, `Pad`, `Tile`, `Einsum` as opaque loop nests, `Sum` as stack and sum, a
`Gather` as five ops, casts to integers as nine, and reads some operators of old opsets by the
rules of new ones. Each converter here is short and names the versions of the operator it covers
(ONNX operator changelog, https://onnx.ai/onnx/operators).

tools.py        what converters are made of
casts.py  constants.py  elementwise.py  moves.py  norms.py  numeric.py  pieces.py  products.py
quantised.py  recurrent.py  resizing.py  sampling.py  spectral.py  windows.py    by family
table.py        all of them
"""

from byoc.frontends.onnx.converters.table import OWN
from byoc.frontends.onnx.converters.tools import Inputs, RefusedError

__all__ = ["OWN", "Inputs", "RefusedError"]
