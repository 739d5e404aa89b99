"""Element types by name, the small ones of ml_dtypes (bfloat16, float8, int4) included.

In: a name as `byoc.segment.TensorType` spells it. Out: numpy's dtype. ml_dtypes adds its types to
numpy when it is imported, which takes time and is seldom needed: it is imported here, once asked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from byoc.errors import ArtifactError

__all__ = ["DtypeError", "numpy_dtype"]


class DtypeError(ArtifactError, TypeError):
    """The name of a dtype is known neither to numpy nor to ml_dtypes."""


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the numpy dtype of a name.

    Args:
        name: As numpy spells it: "float32", "bool", "bfloat16", "float8_e4m3fn".

    Raises:
        DtypeError: There is no such dtype.

    """
    try:
        return np.dtype(name)
    except TypeError:
        pass
    import ml_dtypes  # noqa: F401  registers its types with numpy

    try:
        return np.dtype(name)
    except TypeError:
        raise DtypeError(f"dtype {name!r} is known neither to numpy nor to ml_dtypes") from None
