"""In a recipe: what changes the latents' folder and what does not."""

from pathlib import Path

import pytest

from enogu.recipe.plan import plan
from enogu.recipe.reading import read

RECIPE = """
[recipe]
name = "small"
family = "mini-sd1"
[models]
base = "mini-sd1"
[booru.drawn]
posts = 8
[posts.all]
booru = "drawn"
[captions.tags]
posts = "all"
[latents.low]
posts = "all"
model = "base"
area = 4096
step = 16
[train.tuned]
start = "base"
latents = ["low"]
captions = "tags"
phases = [{ name = "only", latents = "low", images = 64, lr = { unet = 1e-4 } }]
"""


@pytest.mark.parametrize(
    ("setting", "stays"),
    [("captions.tags.drop_tags=0.5", True), ("latents.low.flip=true", False), ("posts.all.where.score_min=3", False)],
)
def test_captions_change_no_latents(tmp_path: Path, setting: str, stays: bool) -> None:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    before, after = plan(read(path)), plan(read(path, settings=[setting]))
    assert (before.tasks["latents.low"].folder == after.tasks["latents.low"].folder) is stays
    assert before.tasks["train.tuned"].folder != after.tasks["train.tuned"].folder
