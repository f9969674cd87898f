"""PID 1 of a sandbox: forks the job, reaps, and reports how the job ended on a descriptor the job never has.

It runs as the namespace's uid 0 with only the right to change uid; the job is another uid without any, so it can
neither signal this process nor reach its memory or descriptors. Only modules of python3-minimal may be used here.
"""

# Not signal, which imports enum: PID 1 is on every job's way.
import _signal  # type: ignore[import]
import os

STATUS_FD = 3
REPORT_FD = 4


def main(arguments: list[str]) -> None:
    """The arguments are those of ergon_job.Entry.parse."""
    os.write(STATUS_FD, b"started\n")
    # Until sandboxd has taken back what the runtime needed to start.
    os.read(0, 1)
    job = os.fork()
    if job == 0:
        os.close(STATUS_FD)
        from ergon_job import Entry, become_job

        become_job(Entry.parse(arguments), REPORT_FD)
    # Python makes itself a handler for SIGINT; without one, PID 1 cannot be interrupted.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    os.closerange(0, STATUS_FD)
    os.close(REPORT_FD)
    while True:
        pid, status = os.wait()
        if pid == job:
            break
    os.write(STATUS_FD, b"exit %d\n" % status)
    # At once: the kernel ends every orphan with PID 1.
    os._exit(0)
