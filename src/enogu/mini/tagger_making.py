"""Making a tagger: draws, trains, exports, calibrates; writes a folder that reads as a WD tagger does."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enogu.core.networks.tagger import Tagger
from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.core.records.seed import derive
from enogu.mini.config import TaggerConfig
from enogu.mini.tagger_ceiling import best_thresholds, ceiling, judged
from enogu.mini.tagger_export import check_onnx, write_model
from enogu.mini.tagger_labels import write_labels
from enogu.mini.tagger_training import draw_training_set, train_tagger


def make_tagger(config: TaggerConfig, job: Job) -> dict[str, Any]:
    """Write model.onnx, selected_tags.csv, thresholds.json and ceiling.json."""
    check_onnx()
    pictures, tags = draw_training_set(config, threads=job.threads, progress=job.progress)
    net = train_tagger(config, pictures, tags, state=job.out / "state.safetensors", progress=job.progress)
    write_labels(job.out / "selected_tags.csv", tags.sum(0).int().tolist())
    write_model(job.out / "model.onnx", net, config.side)
    tagger = Tagger.load(job.out, threads=job.threads)

    thresholds = best_thresholds(*_look(tagger, config, job, purpose="thresholds"))
    write_json(job.out / "thresholds.json", thresholds)
    probabilities, truth = _look(tagger, config, job, purpose="ceiling")
    result = ceiling(probabilities, truth, thresholds)
    write_json(job.out / "ceiling.json", result)
    return {"pictures": config.pictures, **result["mean"]}


def _look(
    tagger: Tagger, config: TaggerConfig, job: Job, *, purpose: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities and truth of fresh drawings."""
    tick = partial(job.progress, total=config.held_out, what=f"held-out drawings ({purpose})")
    return judged(tagger, derive(config.seed, f"tagger.{purpose}"), config.held_out, tick=tick)
