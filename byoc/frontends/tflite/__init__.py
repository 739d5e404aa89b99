"""TFLite files → a Relax function with source names.

file.py        open a file, or say what it is instead; its tables as plain values, bounds checked
schema.py      these values: tensors, operators, subgraphs
importer.py    the walk; quantisation around every operator
call.py        one operator, as converters see it
converters/    operators, by family
stock.py       operators that TVM's importer expresses well enough
layout.py      NHWC → NCHW: transposes sink until they cancel
"""

from byoc.frontends.tflite.file import is_tflite
from byoc.frontends.tflite.importer import Imported, import_tflite

__all__ = ["Imported", "import_tflite", "is_tflite"]
