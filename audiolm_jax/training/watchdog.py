"""Notices that a process is stuck, and says where."""

import faulthandler
import os
import sys
import threading
import time

EXIT_STATUS = 124  # as `timeout` ends: the run goes on from its last checkpoint when started again


class Watchdog:
    """Ends a process that reports no progress for `seconds` (None: never); to standard error goes
    first which stage of which step is stuck, and the Python stacks of all threads. A native call
    that never releases the interpreter is noticed a little later, without that line, status 1."""

    def __init__(self, seconds: float | None):
        self._seen: tuple[float, str, int, bool] = (time.monotonic(), "starting", 0, False)
        self._stopped = threading.Event()
        self._limited = seconds is not None
        self._thread = threading.Thread(target=self._watch, args=(seconds,), daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._limited:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        if self._limited:
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()

    def at(self, stage: str, step: int, limited: bool = True) -> None:
        """Reports that a stage of an update begins; not `limited` if it compiles, however long."""
        self._seen = (time.monotonic(), stage, step, limited)

    def _watch(self, seconds: float) -> None:
        interval = min(seconds / 10, 5.0)
        output = sys.__stderr__ or sys.stderr
        while not self._stopped.wait(interval):
            since, stage, step, limited = self._seen
            # A thread of C, which needs no interpreter: it acts if this thread cannot any more.
            faulthandler.dump_traceback_later(seconds + 2 * interval, exit=True, file=output)
            if limited and time.monotonic() - since > seconds:
                # Printed, because the process ends here, whatever holds the locks of the log.
                print(
                    f"stuck: {stage}, step {step}: no progress for {seconds:g} s "
                    f"(--loop.stall-seconds); ending with status {EXIT_STATUS}, the run goes on "
                    "from its last checkpoint when started again; stacks of all threads:",
                    file=output,
                    flush=True,
                )
                faulthandler.dump_traceback(file=output, all_threads=True)
                os._exit(EXIT_STATUS)
