"""The extract stage: a difference of models in, an adapter and what it misses out."""

from typing import Any

from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.merge.adapters.config import ExtractConfig
from enogu.merge.adapters.extract import extract

THREADS = 2


def run(config: ExtractConfig, job: Job) -> dict[str, Any]:
    """Run the stage; an interrupted run leaves nothing and is simply run again."""
    out = job.out / "model.safetensors"
    done = extract(config, job.all("models"), out, threads=job.threads or THREADS, progress=job.progress)
    result = {"modules": done.tally.total.modules, "residual": done.tally.total.residual}
    write_json(job.out / "extract.json", {**result, "blocks": done.tally.rows(), "left_out": done.tally.shares()})
    return {**result, "data_sha256": done.written.data_sha256 if done.written else ""}
