"""What answers the calls of an executable: one runner per way of compiling, one interface.

    Executable ──▶ Runner ◀── PlainRunner         one session
                          ◀── BackgroundRunner    one session whose engines are still being built
                          ◀── SpecialisedRunner   a session per shape, and one for all others

`Overrides` chooses another runner for callers that give inputs which have a default.

Needs byoc's runtime only: nothing here imports TVM, so that `byoc.load` stays light.
"""

from byoc.runners.background import BackgroundRunner
from byoc.runners.loaded import loaded_runner
from byoc.runners.overrides import Overrides
from byoc.runners.plain import PlainRunner
from byoc.runners.runner import Runner
from byoc.runners.specialised import SpecialisedRunner

__all__ = [
    "BackgroundRunner",
    "Overrides",
    "PlainRunner",
    "Runner",
    "SpecialisedRunner",
    "loaded_runner",
]
