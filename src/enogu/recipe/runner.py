"""Run the tasks of a plan: each once, each under its lock, each written to the ledger."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.exhaustion import exhausted
from enogu.core.records.files import sweep
from enogu.core.records.job import Job
from enogu.core.records.progress import Progress
from enogu.recipe.done import FILE, Done, outputs, write_done
from enogu.recipe.forecast import images
from enogu.recipe.kinds import runner
from enogu.recipe.ledger import append, machine, peak_memory_bytes
from enogu.recipe.lock import locked
from enogu.recipe.plan import Plan, Task


class Watch(Protocol):
    """Whoever shows a run to its maker."""

    def kept(self, done: Done) -> None:
        """Tell that a stage was finished by an earlier run."""

    def begins(self, task: Task, todo: Sequence[str]) -> Progress:
        """Tell that a stage begins, one of those to be run; return what shows its progress."""

    def waits(self, task: Task, owner: str) -> None:
        """Tell that another process is running this stage."""

    def ends(self, done: Done) -> None:
        """Tell that a stage is finished."""


def run(plan: Plan, stages: Sequence[str], *, watch: Watch, device: str, threads: int) -> None:
    """Run the stages named, all if none is, and what they stand on; what is finished is not run again."""
    wanted = [plan.graph.find(name) for name in stages] or plan.graph.order
    for id in plan.graph.order:
        if id in wanted and (done := plan.tasks[id].done()):
            watch.kept(done)
    todo = plan.graph.needed(wanted, lambda id: plan.tasks[id].done() is not None)
    counts = images(plan)
    for id in todo:
        task = plan.tasks[id]
        with _explained(id, plan.work), _locked(plan, task, watch):
            if done := task.done():  # another process finished it while this one waited
                watch.kept(done)
                continue
            progress = watch.begins(task, todo)
            job = Job(
                out=task.folder,
                inputs=plan.inputs(id),
                progress=progress,
                device=device,
                threads=threads,
                cluster=plan.graph.recipe.machine.cluster,
                known_hashes=plan.known_hashes,
            )
            with _entered(plan.work / "ledger.jsonl", task, job) as row:
                row["images"] = counts[id]
                done = _run_one(task, job)
                row["outputs"] = done.outputs
            watch.ends(done)


def _run_one(task: Task, job: Job) -> Done:
    task.folder.mkdir(parents=True, exist_ok=True)
    (task.folder / FILE).unlink(missing_ok=True)  # a record that no longer holds
    sweep(task.folder)
    started, clock = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
    summary = runner(task.stage.traits)(task.stage.config, job)
    done = Done(
        id=task.stage.id,
        kind=task.stage.kind,
        name=task.stage.name,
        hash=task.hash,
        summary=summary,
        seconds=round(time.monotonic() - clock, 3),
        started=started,
        inputs={field: dict(names) for field, names in task.reads.items()},
        settings=dict(task.settings),
        outputs=outputs(task.folder),
    )
    write_done(task.folder, done)
    return done


@contextmanager
def _entered(ledger: Path, task: Task, job: Job) -> Iterator[dict[str, Any]]:
    """Yield a row that goes into the ledger whatever becomes of the run."""
    started, clock = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
    row: dict[str, Any] = {
        "id": task.stage.id,
        "hash": task.hash,
        "started": started,
        "inputs": task.reads,
        "ended": "done",
    }
    try:
        yield row
    except BaseException as error:
        row["ended"] = type(error).__name__
        raise
    finally:
        here = {
            "device": job.device,
            "threads": job.threads,
            "cluster": job.cluster,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        row |= {"seconds": round(time.monotonic() - clock, 3), "machine": machine() | here}
        with suppress(OSError):  # a full disk may be what ended the run
            append(ledger, row)


@contextmanager
def _locked(plan: Plan, task: Task, watch: Watch) -> Iterator[None]:
    lock = plan.work / ".locks" / task.folder.name
    with locked(lock, lambda owner: watch.waits(task, owner)):
        yield


@contextmanager
def _explained(id: str, work: Path) -> Iterator[None]:
    """Turn what goes wrong at work into a failure of this stage, and a full machine into one that says what to do."""
    try:
        yield
    except (Refused, Failed) as error:
        raise Failed("\n".join(f"{id}: {line}" for line in str(error).splitlines())) from error
    except Exception as error:
        wants = exhausted(error)
        if wants == "disk":
            remedy = "make room and run the same command: it goes on"
            raise Failed(f"{id}: the disk under {work} is full, or takes no file so large; {remedy}") from error
        if wants == "memory":
            raise Failed(f"{id}: out of memory: {error}; try a smaller batch, or smaller pictures") from error
        raise
