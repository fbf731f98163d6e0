"""A program that reads JSON lines and answers in JSON lines, run without a shell."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from enogu.core.records.errors import Failed, Refused

LINE = 1 << 20  # bytes; a longer line is no answer
TOLD = 500  # characters of the program's last words that are repeated


class Ended(Failed):
    """A run of the program that did not end well; what it answered before was yielded."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """How to run it."""

    command: tuple[str, ...]
    folder: Path
    log: Path  # gets what it says on standard error
    patience: float

    def check(self) -> None:
        """Refuse a program or folder that is not there."""
        if not self.folder.is_dir():
            raise Refused(f"folder = {str(self.folder)!r} in [nl] is no folder")
        name = self.command[0]
        if shutil.which(self.folder / name if os.sep in name else name) is None:
            raise Refused(f"command in [nl]: there is no program {name!r}, or it may not be run")

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
        """Yield its answers line by line as they come; raise Ended at the end if it fails or falls silent."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # so that what it starts ends with it
            )
        assert process.stdin
        assert process.stdout
        feeder = threading.Thread(target=_feed, args=(process.stdin, requests), daemon=True)
        feeder.start()
        try:
            yield from self._lines(process.stdout)
            status = process.wait(self.patience)
        except subprocess.TimeoutExpired as error:
            raise self._ended("does not end") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            feeder.join()
            process.stdout.close()
        if status:
            raise self._ended(f"ended with status {status}")

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        rest = b""
        while select.select([stream], [], [], self.patience)[0]:
            chunk = os.read(stream.fileno(), 1 << 16)
            if not chunk:
                if rest:
                    yield rest
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > LINE:
                raise self._ended(f"wrote a line of more than {LINE:,} bytes")
        raise self._ended(f"said nothing for {self.patience:g} seconds")

    def _ended(self, how: str) -> Ended:
        last = self.log.read_text("utf-8", "replace").strip()[-TOLD:]
        return Ended(f"{' '.join(self.command)} {how}" + (f"; its last words: {last}" if last else ""))


def _feed(stream: IO[bytes], requests: Sequence[Mapping[str, Any]]) -> None:
    with contextlib.suppress(BrokenPipeError), stream:  # it may end before it has read everything
        for request in requests:
            stream.write(json.dumps(request, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
