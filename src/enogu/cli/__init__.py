"""The command line: one verb per module; only the module of the chosen verb is imported."""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from types import MappingProxyType

from enogu import __version__
from enogu.core.records.errors import Failed, Refused, unknown
from enogu.core.records.exhaustion import exhausted
from enogu.core.records.interrupts import held, like_ctrl_c
from enogu.core.records.printable import printable

VERBS = MappingProxyType(
    {
        "demo": "the main job on the embedded default",
        "plan": "what a recipe would do: graph, counts, costs, warnings; nothing is run",
        "run": "run a recipe, or some of its stages; finished ones are kept",
        "train": "run one training stage of a recipe",
        "posts": "look at posts and select them",
        "captions": "look at captions and count their tokens",
        "latents": "look at buckets, encode, check shards",
        "merge": "merge checkpoints by a formula",
        "extract": "keep a difference of models as a LoRA",
        "inspect": "what a checkpoint is made of",
        "convert": "change a checkpoint's dtype, parts or layout",
        "sample": "draw pictures with a checkpoint",
        "grid": "draw model x prompt x seed on one sheet",
        "judge": "measure drawn pictures",
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status: 0 done, 1 failed while working, 2 refused before any work."""
    _prepare_output()
    try:
        with like_ctrl_c():
            status = _run(list(sys.argv[1:] if arguments is None else arguments))
        print(end="", flush=True)  # a disk that is full is told now, not when Python exits
        return status
    except (Refused, Failed) as error:
        for line in str(error).splitlines():
            print(f"enogu: {printable(line)}", file=sys.stderr)
        return 2 if isinstance(error, Refused) else 1
    except BrokenPipeError:  # whoever read the output has read enough, as `head` does
        _drop_output()
        return 141  # 128 + SIGPIPE, as shells count
    except OSError as error:  # a folder that may not be written, a disk that is gone: the machine's word is clear
        where = f"{error.filename}: " if error.filename else ""
        print(f"enogu: {where}{error.strerror or error}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()  # or Python fails once more when it exits
        return 1
    except Exception as error:
        if wants := exhausted(error):
            print(f"enogu: out of {wants}: {error}", file=sys.stderr)
            return 1
        raise  # a fault of ours, which a traceback helps to find
    except KeyboardInterrupt:
        print("\nenogu: stopped", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells count


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_output() -> None:
    """Let nothing that is printed fail: what the terminal does not know is escaped, what is closed takes nothing."""
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        print(f"enogu {__version__}")
        return 0
    if given[0] not in VERBS:
        raise unknown("verb", given[0], VERBS)
    with held():
        module = importlib.import_module(f"enogu.cli.{given[0]}")
    return int(module.run(module.parser().parse_args(given[1:])))


def _help() -> str:
    lines = (f"  {verb:<10}{line}" for verb, line in VERBS.items())
    return "\n".join(
        [
            "usage: enogu VERB ...",
            "",
            "A foundry for anime base models: posts, captioned, bucketed, encoded,",
            "trained, merged, sampled, judged, released.",
            "",
            *lines,
            "",
            "`enogu VERB --help` tells more. Exit status: 0 done, 1 failed while working, 2 refused before any work.",
        ]
    )
