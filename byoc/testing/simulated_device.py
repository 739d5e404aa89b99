"""A device without hardware: engines that copy in, compute and copy out, each one call at a time.

In: how long each stage takes. Out: something that a Python-hosted vendor's `submit` hands calls to.
Times are slept, so what overlaps can be measured on a busy machine, too: a stage ends when the
device would end it, however late the thread that plays its engine was woken for the one before::

    call 1   upload ▏ kernel      ▏ download ▏
    call 2          ▏ upload ▏····▏ kernel      ▏ download ▏
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from byoc.segment import Array
from byoc.vendor import Done

__all__ = ["SimulatedDevice"]


@dataclass(slots=True)
class _Call:
    inputs: Sequence[Array]
    outputs: Sequence[Array]
    compute: Callable[[Sequence[Array]], Sequence[Array]]
    done: Done
    ready: float  # when its last stage ended
    values: Sequence[Array] = ()
    stopped: threading.Event = field(default_factory=threading.Event)


class SimulatedDevice:
    """Three engines with a queue each; calls go through them one after the other.

    Args:
        upload: Seconds that copying the inputs of a call takes.
        kernel: Seconds that computing takes.
        download: Seconds that copying the outputs takes.

    Attributes:
        counts: How many uploads, kernels, downloads and cancelled calls there were.
    """

    def __init__(self, upload: float = 0.0, kernel: float = 0.0, download: float = 0.0) -> None:
        self.counts: Counter[str] = Counter()
        self._stages = (
            ("uploads", upload, self._upload),
            ("kernels", kernel, self._compute),
            ("downloads", download, self._download),
        )
        self._queues: tuple[queue.SimpleQueue[_Call], ...] = tuple(
            queue.SimpleQueue() for _ in self._stages
        )
        for number, (name, _, _) in enumerate(self._stages):
            threading.Thread(
                target=self._engine, args=(number,), name=f"device:{name}", daemon=True
            ).start()

    def submit(
        self,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        compute: Callable[[Sequence[Array]], Sequence[Array]],
        done: Done,
    ) -> None:
        """Begin a call and return.

        Args:
            inputs: What is copied to the device.
            outputs: What is written at the end.
            compute: The kernel, (inputs) -> outputs.
            done: Called at the end; a cancelled call ends at its next stage, with an error.
        """
        call = _Call(inputs, outputs, compute, done, time.monotonic())
        done.on_cancel(call.stopped.set)
        self._queues[0].put(call)

    def _engine(self, number: int) -> None:
        name, seconds, work = self._stages[number]
        free = 0.0
        while True:
            call = self._queues[number].get()
            call.ready = max(free, call.ready) + seconds
            if call.stopped.wait(max(0.0, call.ready - time.monotonic())):
                free = time.monotonic()
                self.counts["cancelled"] += 1
                call.done("the call was cancelled")
                continue
            free = call.ready
            self.counts[name] += 1
            try:
                work(call)
            except Exception as error:
                call.done(error)
                continue
            if number + 1 < len(self._stages):
                self._queues[number + 1].put(call)
            else:
                call.done()

    @staticmethod
    def _upload(call: _Call) -> None:
        call.values = [np.array(array) for array in call.inputs]

    @staticmethod
    def _compute(call: _Call) -> None:
        call.values = call.compute(call.values)

    @staticmethod
    def _download(call: _Call) -> None:
        for place, value in zip(call.outputs, call.values, strict=True):
            place[...] = value
