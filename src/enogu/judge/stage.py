"""The judge stage: samples of a grid in, scores and measures with intervals and verdicts out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from enogu.core.networks.checkpoint import load_model
from enogu.core.networks.tagger import Tagger
from enogu.core.records.files import atomic_path, write_json
from enogu.core.records.job import Job
from enogu.core.records.posts import read_manifest
from enogu.core.records.seed import generator
from enogu.core.records.shards import Shards
from enogu.judge.adherence import asked_tags, check_groups, check_whole, hits, recall_scores
from enogu.judge.captions import Reader
from enogu.judge.ceiling import ceilings, tag_ceilings
from enogu.judge.config import JudgeConfig
from enogu.judge.intervals import Cells
from enogu.judge.losses import bin_losses, held_out_rows
from enogu.judge.measures import loss_measures, recall_measures, tag_table


def run(config: JudgeConfig, job: Job, *, reader: Reader) -> dict[str, Any]:
    """Write scores.parquet and measures.json; return the verdicts and the ceiling."""
    grid = job.one("grid")
    samples = pl.read_parquet(grid / "samples.parquet")
    check_whole(samples)
    models = samples["model"].unique(maintain_order=True).to_list()
    tagger = Tagger.load(_tagger(config, job), threads=job.threads)
    judged, unjudged = asked_tags(samples, tagger)
    groups = check_groups(config.groups, judged)
    found = hits(samples, tagger, root=grid, progress=job.progress)
    scores = recall_scores(found, groups)
    with atomic_path(job.out / "scores.parquet") as part:
        scores.write_parquet(part)
    result = {
        "models": models,
        "prompts": samples["prompt_index"].n_unique(),
        "seeds": sorted(samples["seed"].unique().to_list()),
        "groups": {name: sorted(tags) for name, tags in groups.items()},
        "unjudged": unjudged,
        "tags": tag_table(found, models),
        **recall_measures(scores, models, groups=list(groups), seed=config.seed),
    }
    if config.heldout:
        result["tag_ceilings"] = tags = _tag_ceilings(config, job, tagger, judged=judged)
        result["ceiling"] = ceilings(tags, found, groups)
    if config.models:
        _extend(result, loss_measures(_losses(config, job, reader), seed=config.seed))
    write_json(job.out / "measures.json", result)
    return {"pictures": len(samples), "verdicts": result["verdicts"], "ceiling": result.get("ceiling", {})}


def _tagger(config: JudgeConfig, job: Job) -> Path:
    return next(iter(job.all("tagger").values()), Path(config.tagger))


def _tag_ceilings(config: JudgeConfig, job: Job, tagger: Tagger, *, judged: list[str]) -> dict[str, dict[str, Any]]:
    posts = job.one("heldout")
    order = generator(config.seed, "judge.heldout").permutation(len(read_manifest(posts).frame))
    rows = sorted(order[: config.heldout_images].tolist())
    return tag_ceilings(tagger, posts, judged, rows=rows, progress=job.progress)


def _losses(config: JudgeConfig, job: Job, reader: Reader) -> dict[str, Cells]:
    shards = Shards(job.one("latents"))
    batches = held_out_rows(shards, config.loss_images, config.seed)
    captions = reader(job.one("captions"), config.seed) if config.captions else None

    def caption(post: int) -> str:
        return captions.plain(post, config.caption_set) if captions else ""

    files, tables = job.all("models"), {}
    total, done = len(files) * len(batches), 0
    for name, file in files.items():
        model, parts = load_model(file, device=job.device), []
        for part in bin_losses(model, shards, batches, caption=caption, seed=config.seed):
            parts.append(part)
            job.progress(done := done + 1, total, "batches of held-out losses")
        tables[name] = np.concatenate(parts)
    return tables


def _extend(result: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        result[key] = result[key] + value if key in result else value
