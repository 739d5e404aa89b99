"""Make the TFLite files of the tests: `python generate.py [--large DIR]`.

Needs `pip install tensorflow` (600 MB, which is why the small files are committed and the tests do
not run this). Weights are seeded; batch norms have seen random images, so that activations have
ranges like those of a trained network. Small files go beside this script, into models/.

--large DIR: also MobileNetV2 1.0 at 224 x 224 pixels, in every quantisation, into DIR.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve().parent
QUANTISATIONS = ("float", "dynamic", "float16", "int8", "int16x8")


def images(shape: tuple[int, ...], count: int, seed: int = 0) -> Any:
    """Smooth random pictures in [-1, 1]: pixels of real ones depend on their neighbours."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 6, 6, shape[-1])).astype(np.float32)
    smooth = tf.image.resize(coarse, shape[:2], method="bicubic").numpy()
    noisy = smooth + 0.1 * rng.normal(size=smooth.shape).astype(np.float32)
    return np.clip(noisy / 2, -1, 1).astype(np.float32)


def settle(model: Any, shape: tuple[int, ...]) -> Any:
    """Let batch norms see data, and give their scales and shifts some spread."""
    rng = np.random.default_rng(1)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.5
        norm.gamma.assign(rng.uniform(0.7, 1.4, norm.gamma.shape))
        norm.beta.assign(rng.normal(0, 0.3, norm.beta.shape))
    for step in range(6):
        model(images(shape, 8, step), training=True)
    return model


def mobilenet(alpha: float, size: int, until: str | None, classes: int) -> Any:
    """MobileNetV2 (Sandler et al. 2018), whole or cut behind layer `until`."""
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    base = keras.applications.MobileNetV2(
        input_shape=shape, alpha=alpha, include_top=until is None, weights=None, classes=classes
    )
    if until is None:
        return settle(base, shape)
    y = keras.layers.GlobalAveragePooling2D()(base.get_layer(until).output)
    y = keras.layers.Dense(classes, activation="softmax")(y)
    return settle(keras.Model(base.input, y), shape)


def ds_cnn(width: int = 64, words: int = 12) -> Any:
    """Keyword spotting: the depthwise-separable network of Zhang et al. 2017 (MLPerf Tiny)."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((49, 10, 1))
    y = layers.Conv2D(width, (10, 4), strides=2, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    for _ in range(4):
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(width, 1, use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.AveragePooling2D((25, 5))(y)
    y = layers.Dense(words, activation="softmax")(layers.Flatten()(y))
    return settle(keras.Model(x, y), (49, 10, 1))


def convert(model: Any, shape: tuple[int, ...], quantisation: str) -> bytes:
    """The Keras model as a TFLite file."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantisation != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantisation == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantisation.startswith("int"):

        def samples() -> Iterator[list[Any]]:
            for image in images(shape, 32, 99):
                yield [image[None]]

        converter.representative_dataset = samples
        kinds = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            kinds.TFLITE_BUILTINS_INT8
            if quantisation == "int8"
            else kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
        kind = tf.int8 if quantisation == "int8" else tf.int16
        converter.inference_input_type = converter.inference_output_type = kind
    return bytes(converter.convert())


def write(folder: Path, name: str, make: Callable[[], Any], kinds: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = make()
    for kind in kinds:
        path = folder / f"{name}_{kind}.tflite"
        path.write_bytes(convert(model, tuple(model.input.shape[1:]), kind))
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=Path, metavar="DIR")
    large = parser.parse_args().large
    models = HERE / "models"
    write(
        models, "mobilenet_v2",
        lambda: mobilenet(0.1, 48, "block_6_project_BN", 10), ("float", "int8", "int16x8"),
    )  # fmt: skip
    write(models, "ds_cnn", ds_cnn, ("dynamic", "int8", "int16x8"))
    if large is not None:
        write(large, "mobilenet_v2", lambda: mobilenet(1.0, 224, None, 1000), QUANTISATIONS)
        write(large, "ds_cnn", ds_cnn, QUANTISATIONS)


if __name__ == "__main__":
    main()
