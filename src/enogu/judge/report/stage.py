"""The report stage: every finished stage in, one page out."""

from typing import Any

from enogu.core.records.files import write_bytes
from enogu.core.records.job import Job
from enogu.judge.captions import Reader
from enogu.judge.config import ReportConfig
from enogu.judge.report.folders import finished
from enogu.judge.report.page import page

FILE = "report.html"


def run(config: ReportConfig, job: Job, *, reader: Reader) -> dict[str, Any]:
    """Write report.html; return its size."""
    stages = finished(job.all("stages").values())
    html = page(config, stages, reader).encode()
    write_bytes(job.out / FILE, html)
    return {"file": FILE, "bytes": len(html), "stages": len(stages)}
