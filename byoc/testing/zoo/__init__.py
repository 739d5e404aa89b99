"""Models to test and measure on: made here, offline, from a seed.

In: a name, a seed, options. Out: an ONNX model, or the path of its file. The nine convolutional
nets inside the onnx package carry constant fills for weights; `light` gives them random ones. The
others are written node by node, spelled as torch.onnx spells them. `calibrate` sees to it that
activations neither vanish nor explode and that no softmax ends saturated or uniform: on such a
model a wrong answer would look right.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx

from byoc.support.files import atomic_write
from byoc.testing.zoo.branch import build_branch
from byoc.testing.zoo.inputs import check_nontrivial, random_inputs
from byoc.testing.zoo.light import LIGHT, build_light
from byoc.testing.zoo.mlp import build_mlp
from byoc.testing.zoo.mobilenet import build_mobilenet_v2
from byoc.testing.zoo.transformers import build_bert, build_gpt2, build_vit

__all__ = ["LIGHT", "NAMES", "build", "check_nontrivial", "model_path", "random_inputs"]

_TINY = {"layers": 2, "hidden": 64, "heads": 4}

_BUILDERS: dict[str, tuple[Callable[..., onnx.ModelProto], dict[str, int]]] = {
    "mobilenet_v2": (build_mobilenet_v2, {}),
    "bert": (build_bert, {}),
    "gpt2": (build_gpt2, {}),
    "vit": (build_vit, {}),
    "mlp": (build_mlp, {}),
    "bert_tiny": (build_bert, {**_TINY, "vocabulary": 500, "sequence": 16}),
    "gpt2_tiny": (build_gpt2, {**_TINY, "vocabulary": 500, "sequence": 16}),
    "vit_tiny": (build_vit, {**_TINY, "image": 32, "patch": 8}),
    "branch": (build_branch, {}),
}

NAMES = (*LIGHT, *_BUILDERS)


def build(name: str, seed: int = 0, **options: int | str | bool) -> onnx.ModelProto:
    """Build a model with weights drawn from a seed.

    Args:
        name: One of `NAMES`.
        seed: Equal seeds draw equal weights.
        **options: What the model's builder takes. The generated models have ``batch=`` and the
            transformers ``sequence=``, each an int or the name of a symbolic dimension; ``layers=``
            and ``spell_norms=`` (LayerNorm as ReduceMean, Sub, Pow, …) belong to the transformers.

    Raises:
        KeyError: There is no such model.

    """
    if name in LIGHT:
        return build_light(name, seed, **options)
    if name not in _BUILDERS:
        raise KeyError(f"no model {name!r} in the zoo; legal: {', '.join(NAMES)}")
    builder, defaults = _BUILDERS[name]
    return builder(seed=seed, **{**defaults, **options})


def _folder() -> Path:
    chosen = os.environ.get("BYOC_MODELS")
    if chosen:
        return Path(chosen)
    checkout = Path(__file__).parents[3]
    if (checkout / "pyproject.toml").exists():
        return checkout / "models"
    return Path.home() / ".cache" / "byoc" / "models"


def _newest_source() -> float:
    return max(p.stat().st_mtime for p in Path(__file__).parent.glob("*.py"))


def model_path(
    name: str, seed: int = 0, *, folder: Path | None = None, **options: int | str | bool
) -> Path:
    """Return the path of a model's file; built when missing or older than this package.

    Args:
        name: One of `NAMES`.
        seed: Of the weights.
        folder: Where the files lie; default ``$BYOC_MODELS``, else ``models/`` in the checkout,
            else ``~/.cache/byoc/models``.
        **options: As for `build`.

    """
    folder = folder or _folder()
    words = [name, *(f"{key}={value}" for key, value in sorted(options.items()))]
    if seed:
        words.append(f"seed={seed}")
    path = folder / f"{'-'.join(words)}.onnx"
    if path.exists() and path.stat().st_mtime >= _newest_source():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    content = build(name, seed, **options).SerializeToString()
    with atomic_write(path) as file:
        file.write(content)
    return path
