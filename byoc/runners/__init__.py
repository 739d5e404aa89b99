"""What answers the calls of an executable: one runner per way of compiling, one interface.

    Executable ──▶ Runner ◀── PlainRunner         one session
                          ◀── BackgroundRunner    one session whose engines are still being built
                          ◀── SpecialisedRunner   a session per shape, and one for all others

Needs byoc's runtime only: nothing here imports TVM, so that `byoc.load` stays light.
"""

from byoc.runners.background import BackgroundRunner
from byoc.runners.loaded import loaded_runner
from byoc.runners.plain import PlainRunner
from byoc.runners.runner import Runner
from byoc.runners.specialised import SpecialisedRunner

__all__ = ["BackgroundRunner", "PlainRunner", "Runner", "SpecialisedRunner", "loaded_runner"]
