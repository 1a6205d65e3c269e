"""Starts a program that dies with its parent: `python tether.py PARENT_PID PROGRAM ARGUMENT…`.

A launcher of its own, because the request to the kernel has to be made between fork and exec, where Python code of a
process with threads is not safe. It must import nothing of the rest.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: int, command: list[str]) -> None:
    """Tie this process to *parent*, then become *command*."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"tether: prctl failed (errno {ctypes.get_errno()})")
    if os.getppid() != parent:  # it died before the request was made
        sys.exit("tether: the parent is gone")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"tether: {command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
