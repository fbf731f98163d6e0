"""The merge stage: a formula and its files in, one checkpoint and its plan out."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from enogu.core.networks.header import Header
from enogu.core.networks.stream import Written
from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.core.records.known_hashes import KnownHashes
from enogu.core.records.progress import Progress, silent
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.hits import idle_rules
from enogu.merge.inputs import read_headers
from enogu.merge.likeness import likeness
from enogu.merge.lineage import Lineage
from enogu.merge.plan import Plan, make_plan
from enogu.merge.report import rows, summary
from enogu.merge.samples import read_samples
from enogu.merge.soundness import refuse_damaged

THREADS = 2


def planned(config: MergeConfig, files: Mapping[str, Path]) -> tuple[Plan, Mapping[str, Header]]:
    """Plan a merge from headers, then look at a few tensors for what headers cannot tell."""
    headers = read_headers(files)
    plan = make_plan(config, headers)
    samples = read_samples(plan, files)
    refuse_damaged(plan, samples)
    return replace(plan, warnings=(*plan.warnings, *idle_rules(plan), *likeness(plan, samples))), headers


def merge(
    config: MergeConfig,
    files: Mapping[str, Path],
    out: Path,
    *,
    threads: int = THREADS,
    mapped: bool = False,
    known: KnownHashes | None = None,
    progress: Progress = silent,
) -> tuple[Plan, Written]:
    """Plan a merge, write it to `out`, and return the plan and the hash of the result."""
    plan, headers = planned(config, files)
    engine = Engine(threads=threads, mapped=mapped, known=known or KnownHashes(), progress=progress)
    return plan, engine.run(plan, files, out, describe=Lineage(plan, headers, files).describe)


def run(config: MergeConfig, job: Job) -> dict[str, Any]:
    """Run the stage; an interrupted run leaves nothing and is simply run again."""
    threads = job.threads or THREADS
    out = job.out / "model.safetensors"
    plan, written = merge(
        config, job.all("models"), out, threads=threads, known=job.known_hashes, progress=job.progress
    )
    result = {**summary(plan), "data_sha256": written.data_sha256}
    write_json(job.out / "plan.json", {**result, "keys": rows(plan)})
    return result
