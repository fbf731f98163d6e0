"""The latents stage on pictures of every kind: what is stored, what is skipped, what a rerun does."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from enogu.cli import main
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.picture import read_picture, resize_to_cover
from enogu.core.records.shards import Shards
from enogu.latents import moments
from enogu.latents.buckets import Buckets

if TYPE_CHECKING:
    from conftest import Bench

BROKEN = {
    "truncated.jpg": "truncated",
    "dot.png": "too small",
    "bomb.png": "too large",
    "empty.png": "empty",
    "text.png": "unreadable",
    "missing.png": "missing",
    "ribbon.png": "aspect",
}


def expected(bench: "Bench", image: str, *, flipped: bool = False) -> np.ndarray:
    """Compute the record of one picture by itself, in the plainest way."""
    picture = read_picture(bench.images / image)
    shape = Buckets(area=64 * 64, step=16).choose(picture.shape[1], picture.shape[0])
    crop, _, _ = resize_to_cover(picture, *shape)
    crop = crop[:, ::-1].copy() if flipped else crop.copy()
    with torch.no_grad():
        return bench.vae().moments(torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1)[0].numpy()


def test_every_sound_picture_is_stored_and_every_broken_one_is_listed(zoo: "Bench") -> None:
    summary = zoo.run()
    images = dict(zoo.manifest.select("id", "image").iter_rows())
    shards = Shards(zoo.folder / "latents")
    assert zoo.skipped() == BROKEN
    assert {images[post] for post in shards.index["post"]} == set(images.values()) - set(BROKEN)
    assert summary["posts"] == len(images) == summary["pictures"] + sum(summary["skipped"].values())
    assert shards.verify() == []
    for row, post in enumerate(shards.index["post"]):
        assert np.abs(shards.read(np.array([row]))[0] - expected(zoo, images[post])).max() < 2e-3


def test_sizes_in_the_index_are_those_of_the_upright_picture(zoo: "Bench") -> None:
    zoo.run()
    images = dict(zoo.manifest.select("image", "id").iter_rows())
    index = Shards(zoo.folder / "latents").index
    row = index.filter(pl.col("post") == images["turned.jpg"]).row(0, named=True)
    assert (row["original_width"], row["original_height"]) == (80, 120)
    assert row["width"] < row["height"]
    assert row["crop_left"] == 0 or row["crop_top"] == 0


def test_pictures_that_are_the_same_share_a_record(zoo: "Bench") -> None:
    zoo.run()
    images = dict(zoo.manifest.select("image", "id").iter_rows())
    twins = Shards(zoo.folder / "latents").index.filter(
        pl.col("post").is_in([images["twin.png"], images["plain000.png"]])
    )
    assert len(twins) == 2
    assert len(twins.unique(["shard", "offset"])) == 1


def test_mirror_images_are_second_entries(zoo: "Bench") -> None:
    summary = zoo.run(flip=True)
    shards = Shards(zoo.folder / "latents")
    images = dict(zoo.manifest.select("id", "image").iter_rows())
    assert summary["records"] == 2 * summary["pictures"]
    for row, (post, flipped) in enumerate(shards.index.select("post", "flipped").iter_rows()):
        found = shards.read(np.array([row]))[0]
        assert np.abs(found - expected(zoo, images[post], flipped=flipped)).max() < 2e-3


def test_a_rerun_encodes_nothing_and_changes_nothing(zoo: "Bench") -> None:
    zoo.run(flip=True)
    before = zoo.contents()
    assert zoo.run(flip=True)["encoded"] == 0
    assert zoo.contents() == before


def test_only_new_posts_are_encoded(bench: "Bench") -> None:
    bench.draw(12)
    bench.freeze()
    assert bench.run()["encoded"] == 12
    before = bench.contents()
    bench.draw(5, start=12)
    bench.freeze()
    summary = bench.run()
    assert (summary["encoded"], summary["records"]) == (5, 17)
    after = bench.contents()
    assert all(after[name].startswith(data) for name, data in before.items() if name.endswith(".bin"))
    assert Shards(bench.folder / "latents").verify() == []


def test_a_changed_picture_a_changed_vae_and_another_bucket_are_encoded_anew(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.draw(6)
    bench.freeze()
    bench.run()
    (bench.images / "plain001.jpg").write_bytes((bench.images / "plain004.jpg").read_bytes() + b"tail")
    bench.freeze()
    assert bench.run()["encoded"] == 1
    assert bench.run(precision="bf16")["encoded"] == 6
    monkeypatch.setattr(moments, "load_model", lambda path, device="cpu": SimpleNamespace(vae=bench.vae(seed=1)))
    assert bench.run()["encoded"] == 6
    assert bench.run(area=96 * 96)["encoded"] == 6


def test_a_file_that_is_not_the_frozen_one_is_skipped(bench: "Bench") -> None:
    bench.draw(6)
    bench.freeze()
    (bench.images / "plain001.jpg").write_bytes((bench.images / "plain004.jpg").read_bytes())
    bench.run()
    assert bench.skipped() == {"plain001.jpg": "changed"}


def test_small_pictures_are_not_enlarged_unless_asked(bench: "Bench") -> None:
    bench.draw(30)
    bench.freeze()
    assert bench.run("up", area=128 * 128)["enlarged"] > 0
    summary = bench.run("down", area=128 * 128, upscale=False)
    index = Shards(bench.folder / "down").index
    assert summary["enlarged"] == 0
    assert index.filter(
        (pl.col("width") > pl.col("original_width")) | (pl.col("height") > pl.col("original_height"))
    ).is_empty()
    assert set(bench.skipped("down").values()) <= {"too small", "aspect"}


def test_low_precision_is_near(bench: "Bench") -> None:
    bench.draw(8)
    bench.freeze()
    bench.run("exact")
    bench.run("rough", precision="bf16")
    exact, rough = Shards(bench.folder / "exact"), Shards(bench.folder / "rough")
    for row in range(8):
        a, b = (shards.read(np.array([row])).astype(np.float64) for shards in (exact, rough))
        assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()


class Overflowing(torch.nn.Module):
    """A VAE that breaks: on dark pictures in low precision, on white ones always."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = torch.nn.AvgPool2d(8)

    def moments(self, rgb: torch.Tensor) -> torch.Tensor:
        moments = self.pool(rgb).repeat(1, 3, 1, 1)[:, :8].clone()
        brightness = rgb.mean(dim=(1, 2, 3))
        if torch.is_autocast_enabled("cpu"):
            moments[brightness < 0] = float("nan")
        moments[brightness > 0.99] = 1e6  # over what fp16 holds
        return moments


def test_what_overflows_is_computed_in_fp32_and_else_skipped(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "load_model", lambda path, device="cpu": SimpleNamespace(vae=Overflowing()))
    for name, grey in (("dark", 10), ("light", 200), ("white", 255)):
        Image.new("L", (64, 64), grey).save(bench.images / f"{name}.png")
    bench.freeze()
    summary = bench.run(precision="bf16")
    assert bench.skipped() == {"white.png": "not finite"}
    assert summary["fp32_fallbacks"] == 2
    shards = Shards(bench.folder / "latents")
    assert shards.read(np.arange(2))[:, 0, 0, 0] == pytest.approx([10 / 127.5 - 1, 200 / 127.5 - 1], abs=4e-3)


def test_nothing_to_encode(bench: "Bench") -> None:
    (bench.images / "a.png").write_text("no")
    bench.freeze()
    with pytest.raises(Failed, match=r"none of 1 pictures could be encoded.*unreadable"):
        bench.run()
    (bench.images / "a.png").unlink()
    bench.draw(1)
    bench.freeze()
    bench.manifest.clear().write_parquet(bench.folder / "posts" / "manifest.parquet")
    with pytest.raises(Refused, match="no posts are selected"):
        bench.run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 12}, "step = 12"),
        ({"step": 128}, "step = 128"),
        ({"area": 100, "step": 16}, "area = 100"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"batch": 0}, "batch = 0"),
        ({"min_kept": 2.0}, "min_kept = 2"),
        ({"min_side": 512, "max_side": 256}, "min_side = 512, max_side = 256"),
        ({"max_side": 8}, "max_side = 8"),
    ],
)
def test_settings_that_cannot_work_are_refused(bench: "Bench", settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        bench.run(**settings)


def test_the_summary_tells_where_the_time_went(zoo: "Bench") -> None:
    summary = zoo.run()
    assert sum(summary["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert all(share > 0 for share in summary["shares"].values())
    assert {"decode", "resize", "vae", "write", "total"} == set(summary["seconds"])
    written = json.loads((zoo.folder / "latents" / "buckets.json").read_text())
    assert sum(bucket["pictures"] for bucket in written["buckets"]) == summary["pictures"]
    assert 0.5 < written["kept"] <= 1


def test_the_command_line_shows_and_verifies(zoo: "Bench", capsys: pytest.CaptureFixture[str]) -> None:
    zoo.run()
    folder = str(zoo.folder / "latents")
    assert main(["latents", "show", folder]) == 0
    shown = capsys.readouterr().out
    assert "64x64" in shown
    assert "skipped, truncated: 1" in shown
    assert main(["latents", "show", folder, "--json"]) == 0
    assert sum(bucket["pictures"] for bucket in json.loads(capsys.readouterr().out)["buckets"]) == 37
    assert main(["latents", "verify", folder]) == 0
    path = sorted((zoo.folder / "latents").glob("shard-*.bin"))[0]
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    capsys.readouterr()
    assert main(["latents", "verify", folder]) == 1
    assert path.name in capsys.readouterr().err
    assert main(["latents", "repair", folder]) == 0
    assert "1 damaged records taken out" in capsys.readouterr().out
    assert main(["latents", "verify", folder]) == 0
    capsys.readouterr()
    assert main(["latents", "buckets", str(zoo.folder / "posts"), "--side", "64", "--step", "16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:8]] == ["novelai"] * 3 + ["kohya"] * 3
    assert main(["latents", "show", str(zoo.folder)]) == 2


SCRIPT = """
    import sys, time
    from pathlib import Path
    from types import SimpleNamespace
    sys.path.insert(0, sys.argv[2])
    from conftest import Bench, tiny_vae
    from enogu.core.records.files import sweep
    from enogu.latents import moments
    moments.load_model = lambda path, device="cpu": SimpleNamespace(vae=tiny_vae())
    print("ready", flush=True)
    sweep(Path(sys.argv[1]) / "killed")  # as whoever runs a stage does before
    Bench(Path(sys.argv[1])).run("killed", flip=True)
"""


def test_kill_9_at_random_moments_changes_not_one_bit(zoo: "Bench") -> None:
    """Killed again and again until it ends by itself: broken pictures, wrong sizes, twins and all."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(zoo.folder), str(Path(__file__).parent)]
    for moment in [*np.random.default_rng(time.time_ns()).uniform(0, 0.5, size=3), 60.0]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert process.returncode in (0, -signal.SIGKILL)
    zoo.run("apart/quiet", flip=True)
    assert zoo.contents("killed") == zoo.contents("apart/quiet")
