"""Networks in the shape of well-known ones, each as Relay and as ONNX."""

from __future__ import annotations

from byoc.testing.zoo.relay import RelayNet

__all__ = ["NETWORKS", "mobilenet", "quantised_cnn", "resnet18"]


def resnet18(*, seed: int = 0, image: int = 32, width: int = 16, classes: int = 10) -> RelayNet:
    """Build a ResNet-18: a stem, then four stages of two blocks; BatchNorm is not folded.

    Args:
        seed: Equal seeds draw equal weights.
        image: Height and width of the input ``data``, float32 [1, 3, image, image].
        width: Channels of the first stage; each later stage has twice as many.
        classes: Size of the output, float32 [1, classes].
    """
    net = RelayNet("resnet18", seed)
    x = net.input("data", (1, 3, image, image))
    x = net.relu(net.batch_norm(net.conv(x, width, 7, 2)))
    x = net.max_pool(x, 3, 2)
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            channels = width << stage
            y = net.relu(net.batch_norm(net.conv(x, channels, 3, stride)))
            y = net.batch_norm(net.conv(y, channels, 3))
            short = net.batch_norm(net.conv(x, channels, 1, stride)) if stride > 1 else x
            x = net.relu(net.add(y, short))
    net.output(net.softmax(net.dense(net.flat_mean(x), classes)))
    return net


def mobilenet(*, seed: int = 0, image: int = 32, width: int = 8, classes: int = 10) -> RelayNet:
    """Build a small MobileNetV2: inverted residuals around depthwise convolutions, with ReLU6.

    Args:
        seed: Equal seeds draw equal weights.
        image: Height and width of the input ``data``, float32 [1, 3, image, image].
        width: Channels of the stem; the layer before the classifier has four times as many.
        classes: Size of the output, float32 [1, classes].
    """
    net = RelayNet("mobilenet", seed)
    x = net.input("data", (1, 3, image, image))
    x = net.relu6(net.conv(x, width, 3, 2, bias=True))
    for expand, channels, stride in ((1, 8, 1), (6, 12, 2), (6, 12, 1), (6, 16, 2), (6, 16, 1)):
        depth = net.shape[x][1]
        y = x
        if expand > 1:
            y = net.relu6(net.conv(y, depth * expand, 1, bias=True))
        hidden = net.shape[y][1]
        y = net.relu6(net.conv(y, hidden, 3, stride, groups=hidden, bias=True))
        y = net.conv(y, channels, 1, bias=True)
        x = net.add(x, y) if stride == 1 and depth == channels else y
    x = net.relu6(net.conv(x, 4 * width, 1, bias=True))
    net.output(net.dense(net.flat_mean(x), classes))
    return net


def quantised_cnn(*, seed: int = 0, image: int = 16, width: int = 8, classes: int = 10) -> RelayNet:
    """Build a residual network that computes in int8: QNN operators in Relay, QDQ nodes in ONNX.

    Args:
        seed: Equal seeds draw equal weights.
        image: Height and width of the input ``data``, float32 [1, 3, image, image].
        width: Channels of the first block; the second has twice as many.
        classes: Size of the output, float32 [1, classes].
    """
    net = RelayNet("quantised_cnn", seed)
    x = net.quantize(net.input("data", (1, 3, image, image)), 0.02, 3)
    x = net.qconv(x, width, 3, 0.03, -128, stride=2, relu=True)
    for channels in (width, 2 * width):
        if channels != net.shape[x][1]:
            x = net.qconv(x, channels, 1, 0.04, -5, stride=2)
        y = net.qconv(x, channels, 3, 0.03, -20, relu=True)
        y = net.qconv(y, channels, 3, 0.05, 7, groups=channels)
        x = net.qadd(x, y, 0.06, -11)
    features = net.flat_mean(net.dequantize(x))
    x = net.qdense(net.quantize(features, 0.01, 0), classes, 0.05, 0)
    net.output(net.dequantize(x))
    return net


NETWORKS = {"resnet18": resnet18, "mobilenet": mobilenet, "quantised_cnn": quantised_cnn}
"""Name → builder."""
