"""Whether the weights that were compiled in are still those of the model.

torch counts writes in place, but not all: fused kernels of optimisers, ``tensor.data``, numpy and
other processes raise no counter. So four things are asked, cheapest first::

    the same tensors, at the same addresses       parameters replaced, `.data = …`
    version counters                              writes that torch counts
    optimisers' steps (a hook of torch.optim)     fused kernels, exactly the tensors they write
    the bytes                                     anything else

Bytes are read as 64-bit words and compared as such (NaN is equal to itself). Small models are
compared whole on every call. Of large ones, which take as long to read as to run, every call reads
samples that are spread over each tensor (a tensor that is written to as a whole is always seen) and
the next window of a pass over all of them; what only the pass finds was missed by calls before.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

__all__ = ["Change", "FrozenWeights", "can_be_frozen"]

_WHOLE = 1 << 18
"""So many bytes of weights are compared whole: 20 µs."""

_SAMPLES = 32
"""Words that are read of every larger tensor."""

_CHUNK = 1 << 13
"""Words that share a checksum."""

_WINDOW = 4
"""Checksums that every call computes."""

_MULTIPLIERS = (
    np.arange(1, 2 * _CHUNK, 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
) | np.uint64(1)


class Change(Enum):
    """What has happened to weights since they were compiled in; true in a condition if anything."""

    NONE = ""
    COUNTED = "torch counted a write"
    SEEN = "a write that torch does not count, seen by the first call after it"
    LATE = "a write that torch does not count, which calls may have missed"

    def __bool__(self) -> bool:
        return self is not Change.NONE


def can_be_frozen(weight: torch.Tensor) -> bool:
    """Return True for a tensor whose writes can be noticed.

    Args:
        weight: Any tensor.
    """
    dense = weight.layout is torch.strided and not weight.is_quantized
    return dense and weight.device.type == "cpu" and not weight.is_inference()


class FrozenWeights:
    """Weights as they were at one time. Threads may ask at once."""

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        """Remember them.

        Args:
            weights: Dense tensors in the CPU's memory. They are not kept alive, their memory is.
        """
        self._tensors = [weakref.ref(w) for w in weights]
        self._versions = [w._version for w in weights]
        self._addresses = [w.data_ptr() for w in weights]
        self._storages = {w.untyped_storage().data_ptr() for w in weights}
        self._stepped = False
        with _lock:
            _frozen.add(self)
        words = [part for w in weights for part in _words(w)]
        self.whole = sum(w.nbytes for w in words) <= _WHOLE
        self._picked = words if self.whole else [_spread(w, n) for n, w in enumerate(words)]
        self._sample = self._read()
        self._chunks = [] if self.whole else [c for w in words for c in _chunks(w)]
        self._sums = [_checksum(c) for c in self._chunks]
        self._next = 0
        self._last = Change.NONE

    @property
    def calls_of_a_pass(self) -> int:
        """After so many calls every byte has been read."""
        return 1 if self.whole else -(-len(self._chunks) // _WINDOW)

    @property
    def alive(self) -> bool:
        """False when one of the tensors is gone."""
        return all(r() is not None for r in self._tensors)

    def are(self, weights: Sequence[torch.Tensor]) -> bool:
        """True for the very same tensors.

        Args:
            weights: As many tensors.
        """
        return all(r() is w for r, w in zip(self._tensors, weights, strict=True))

    def change(self, weights: Sequence[torch.Tensor]) -> Change:
        """Say whether the tensors' values are still the same; what has changed once stays so.

        Args:
            weights: The very same tensors.
        """
        if not self._last:
            self._last = self._change(weights)
        return self._last

    def _change(self, weights: Sequence[torch.Tensor]) -> Change:
        if (
            self._stepped
            or [w._version for w in weights] != self._versions
            or [w.data_ptr() for w in weights] != self._addresses
        ):
            return Change.COUNTED
        if not np.array_equal(self._read(), self._sample):
            return Change.SEEN
        return Change.NONE if self._window() else Change.LATE

    def stepped(self, storages: set[int]) -> None:
        """Take notice of a step of an optimiser.

        Args:
            storages: The addresses of the storages that it may have written to.
        """
        if not storages.isdisjoint(self._storages):
            self._stepped = True

    def _read(self) -> Any:
        return np.concatenate(self._picked) if self._picked else np.empty(0, np.uint64)

    def _window(self) -> bool:
        """Check the next chunks; True where they are as they were."""
        count = len(self._chunks)
        start = self._next
        self._next = (start + _WINDOW) % count if count else 0
        return all(
            _checksum(self._chunks[i % count]) == self._sums[i % count]
            for i in range(start, start + min(_WINDOW, count))
        )


def _words(tensor: torch.Tensor) -> list[Any]:
    """The memory of a tensor as 64-bit words, and its last bytes as one more."""
    if not tensor.numel():
        return []
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    size = (1 + sum((n - 1) * step for n, step in axes)) * tensor.element_size()
    first = tensor.storage_offset() * tensor.element_size()
    memory = torch.empty(0, dtype=torch.uint8)
    memory.set_(tensor.untyped_storage(), first, (size,), (1,))
    data = memory.numpy()
    cut = size - size % 8
    return [part for part in (data[:cut].view(np.uint64), data[cut:]) if part.size]


def _spread(words: Any, number: int) -> Any:
    """Some words of a tensor, at equal distances."""
    step = max(1, words.size // _SAMPLES)
    return words[number * 7 % step :: step]


def _chunks(words: Any) -> list[Any]:
    return [words[i : i + _CHUNK] for i in range(0, words.size, _CHUNK)]


def _checksum(chunk: Any) -> int:
    """A sum that tells words and their order."""
    return int(np.dot(chunk.astype(np.uint64, copy=False), _MULTIPLIERS[: chunk.size]))


_frozen: weakref.WeakSet[FrozenWeights] = weakref.WeakSet()
_lock = threading.Lock()


def _after_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    with _lock:
        frozen = list(_frozen)
    if not frozen:
        return
    written = {
        p.untyped_storage().data_ptr()
        for group in optimizer.param_groups
        for p in group["params"]
        if p.device.type == "cpu" and p.layout is torch.strided
    }
    for weights in frozen:
        weights.stepped(written)


register_optimizer_step_post_hook(_after_step)
