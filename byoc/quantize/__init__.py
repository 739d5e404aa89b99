"""Post-training quantisation: a float ONNX model and samples in, an int8 QDQ model out.

::

    from byoc.quantize import quantize_model
    result = quantize_model("model.onnx", samples)      # samples: input name -> array [n, ...]
    result.save("model_int8.onnx")
"""

from byoc.quantize.model import QuantizedModel, quantize_model
from byoc.quantize.ranges import METHODS, QuantParams

__all__ = ["METHODS", "QuantParams", "QuantizedModel", "quantize_model"]
