"""ONNX files and protos → a Relax function with source names.

file.py      open a file, or say what it is instead; large weights stay in the file
wire.py      find them without parsing
weights.py   read them, from the file or from external data
check.py     what a graph must be before it is walked
symbols.py   shapes of inputs
graph.py     the walk
converters/   operators that TVM's importer gets wrong
opaque.py   nodes that Relax cannot express, kept whole
"""

from byoc.frontends.onnx.importer import Imported, import_onnx

__all__ = ["Imported", "import_onnx"]
