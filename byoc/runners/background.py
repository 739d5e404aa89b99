"""A runner over one session whose engines are still being built."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from byoc.build.readiness import Readiness
from byoc.runners.plain import PlainRunner
from byoc.runtime import Session

if TYPE_CHECKING:
    from byoc.build.background import Builds

__all__ = ["BackgroundRunner"]


class BackgroundRunner(PlainRunner):
    """Answers from host fallbacks until engines take over: the runner of ``background=True``.

    Args:
        session: answers; engines are installed in it as they become ready.
        begin: starts the threads that build them for a session. They are closed when the runner
            goes.
    """

    def __init__(self, session: Session, begin: Callable[[Session], Builds]) -> None:
        super().__init__(session)
        self._builds = begin(session)
        weakref.finalize(self, self._builds.close)

    @property
    def ready(self) -> Readiness:
        """Which segments run on their engines by now."""
        return self._builds.readiness()

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until no engine is being built, `timeout` seconds at most."""
        return self._builds.wait(timeout)

    def close(self) -> None:
        """Build no more engines; segments without one stay on their host fallbacks."""
        self._builds.close()
        super().close()
