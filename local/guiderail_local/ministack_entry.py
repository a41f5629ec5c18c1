"""Starts MiniStack, and ends it when the process that wanted it is gone, however that ended.

Run by path on MiniStack's own interpreter, so it imports nothing of the project. Standard input is a
pipe whose other end only the owner holds: reading returns when the owner closes it or dies.
"""

import os
import runpy
import shutil
import signal
import sys
import threading

import ministack_gaps


def _end_with_owner() -> None:
    sys.stdin.buffer.read()
    # The temporary folder is ours alone: named by the owner, who can no longer clean up.
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_owner, daemon=True).start()
    ministack_gaps.close()
    runpy.run_module("ministack", run_name="__main__")
