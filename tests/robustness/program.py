"""enogu in processes that can be made to die at a chosen moment: each forked from one that has PyTorch in memory.

Reads one request per line from stdin (JSON) and answers each with its process id and then its exit status.
A moment is an operation on the file system just before it happens (PEP 578), counted by kind of stage.
"""

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import cv2
import torch

import enogu.mini.vae_making
from enogu.cli import main
from enogu.core.networks.family import Family, TextWidths, UNetWidths, VAEWidths, families
from enogu.recipe.kinds import KINDS, runner
from enogu.recipe.ledger import machine

TOUCHING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
PICO = Family(
    name="pico",
    prediction="eps",
    schedule="scaled_linear",
    latent_scale=0.18215,
    unet=UNetWidths(
        channels=8,
        multipliers=(1, 1, 1, 1),
        attention=(True, False, False, False),
        blocks=2,
        heads=2,
        context=4,
        groups=4,
    ),
    vae=VAEWidths(channels=4, multipliers=(1, 1, 1, 1), blocks=1, latent=4, groups=2),
    text=TextWidths(width=4, layers=1, heads=2, vocabulary=49408, positions=77),
)


class Moments:
    """Counts the moments of each kind of stage; at a chosen one a signal comes."""

    def __init__(self, work: str, *, at: dict[str, Any] | None, tally: str) -> None:
        """Listen for good: an audit hook cannot be taken off."""
        self._work = work.rstrip("/") + "/"
        self._at = at
        self._tally = tally
        self.seen: dict[str, list[str]] = {}
        self._busy = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy or not (event in TOUCHING or (event == "open" and _writes(arguments))):
            return
        paths = [str(one) for one in arguments[:2] if isinstance(one, str | os.PathLike)]
        inside = [path[len(self._work) :] for path in paths if path.startswith(self._work)]
        if inside and "/" in inside[-1]:
            kind = inside[-1].partition("-")[0]
            self.seen.setdefault(kind, []).append(f"{event} {inside[-1]}")
            if self._at and (kind, len(self.seen[kind])) == (self._at["kind"], self._at["moment"]):
                os.kill(os.getpid(), self._at["signal"])

    def write(self) -> None:
        """Write what was seen."""
        self._busy = True
        Path(self._tally).write_text(json.dumps(self.seen))


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def child(request: dict[str, Any]) -> int:
    """Run enogu as asked."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if limit := request.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if request.get("cut"):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # die in the middle of the write
    moments = Moments(request["work"], at=request.get("at"), tally=request["log"] + ".moments")
    status = main(request["arguments"])
    if not request.get("at") and not limit:
        moments.write()
    return status


def leave(request: dict[str, Any]) -> NoReturn:
    """Run enogu and leave at once: libraries wait at exit for threads of theirs that no fork takes along."""
    try:
        status = child(request)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    families()["pico"] = PICO  # type: ignore[index]
    enogu.mini.vae_making.STATE_EVERY = 1  # updates
    enogu.mini.vae_making.WHITENED = 16
    machine()
    for kind in KINDS.values():  # imports every room
        runner(kind)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            leave(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
