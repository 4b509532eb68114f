"""The node program: ``python -I -m weftwork.node run|cleanup FOLDER``, ``supervise HOME [IDLE_SECONDS]``, ``call FRAMES RESULT``.

``run`` runs one folder in this process and exits with 0 when it succeeded, 1 when it failed, 75 when no outcome was
written. SIGTERM and SIGINT abandon the job: its processes are killed and no outcome is left, because whoever
withdrew the node did not withdraw the calculation (a request to cancel is ``cancel.json``). Also when it is killed
outright, no process of the job is left.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not __package__:
    # Started by its path, isolated: the package is not on the search path.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def main(words: list[str]) -> int:
    match words:
        case ["run", folder]:
            return _run(folder)
        case ["cleanup", folder]:
            from weftwork.node.claim import cleanup

            return 0 if cleanup(folder) else 75
        case ["call", frames, result]:
            from weftwork.node.calling import call

            return call(frames, result)
        case ["supervise", home, *idle]:
            from weftwork.node.supervisor import supervise

            return supervise(home, float(idle[0]) if idle else 600.0)
        case ["supervise-detached", *rest]:
            # Twice removed: whoever starts it need not wait for it, and it can never get a terminal.
            return 0 if os.fork() else main(["supervise", *rest])
    sys.stderr.write(f"{__doc__}\n")
    return 2


def _run(folder: str) -> int:
    import signal

    from weftwork.errors import WeftError
    from weftwork.node.guard import Guard
    from weftwork.node.request import Request
    from weftwork.node.run import Runner

    guard = Guard(folder)
    request = Request()
    os.umask(0o022)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: request.abandon())
    try:
        outcome = Runner().run(os.path.realpath(folder), request)
    except (WeftError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 75
    finally:
        guard.leave()
    return 75 if outcome is None else 0 if outcome.error is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
