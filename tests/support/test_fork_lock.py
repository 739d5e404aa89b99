"""ForkLock: free in a child, whoever held it in the parent."""

from __future__ import annotations

import os
import signal

from byoc.support.fork_lock import ForkLock


def test_a_child_finds_the_lock_free_and_the_parent_keeps_it():
    lock = ForkLock()
    with lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            lock_in_child = lock
            lock_in_child.__enter__()
            lock_in_child.__exit__()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with lock:
        pass
