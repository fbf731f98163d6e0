"""Posts folders of any size, drawn with a seed: a booru's vocabulary, dates, favourites and numbers of tags."""

from pathlib import Path

import numpy as np
import polars as pl

from enogu.core.records.files import write_json
from enogu.core.records.posts import MANIFEST_SCHEMA, RATINGS, SCHEMA

VOCABULARY = {"general": 30_000, "artist": 59_000, "character": 41_000, "copyright": 9_500, "meta": 400}
PER_POST = {"general": 24, "artist": 1, "character": 1, "copyright": 1, "meta": 3}  # the mean of a Poisson number
HEAVY = 0.8  # of Zipf's law
SYLLABLES = ("ka", "mi", "no", "ha", "ru", "shi", "to", "yu", "re", "sa", "ko", "chi", "na", "ri")
LOOKS = ("red", "blue", "long", "short", "white", "holding", "striped", "open", "closed", "small", "large", "winged")
THINGS = (
    *("hair", "eyes", "dress", "hat", "sky", "flower", "book", "ribbon", "shirt", "boots", "cape", "umbrella", "cat"),
    *("window", "table", "tree", "river", "lamp", "sword", "scarf", "gloves", "bag", "cup", "moon", "mountain", "door"),
)
COUNTS = ("1girl", "2girls", "1boy", "multiple_girls", "solo", "^_^")
NOISE = ("highres", "absurdres", "commentary_request", "bad_id", "translated", "photo_(medium)")
BATCH = 200_000
FIRST, LAST = 1_117_000_000, 1_735_000_000  # 2005 to 2024


def synthetic_posts(folder: Path, number: int, *, seed: int = 0, tags: bool = True) -> None:
    """Write posts.parquet, manifest.parquet and posts.json; everything written is in the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {kind: _vocabulary(kind, size) for kind, size in VOCABULARY.items()} if tags else {}
    parts = []
    for first in range(0, number, BATCH):
        rng = np.random.default_rng((seed, first))
        parts.append(folder / f"part-{first:09}.parquet")
        _batch(rng, first, min(BATCH, number - first), number, words).write_parquet(parts[-1])
    pl.scan_parquet(parts).sink_parquet(folder / "manifest.parquet", row_group_size=50_000)
    for part in parts:
        part.unlink()
    manifest = pl.scan_parquet(folder / "manifest.parquet")
    manifest.select([name for name in SCHEMA if not name.startswith("tags_")]).sink_parquet(folder / "posts.parquet")
    write_json(folder / "posts.json", {"root": "images"})


def _vocabulary(kind: str, size: int) -> pl.Series:
    rng = np.random.default_rng(len(kind))
    parts = rng.choice(SYLLABLES, (size, 4))
    first = COUNTS if kind == "general" else NOISE if kind == "meta" else ()
    if kind in ("general", "meta"):
        pairs = [f"{a}_{b}" for a in LOOKS for b in THINGS]
        return pl.Series(
            [
                *first,
                *(
                    f"{pairs[n % len(pairs)]}{'_' + pairs[n // len(pairs)] if n >= len(pairs) else ''}"
                    for n in range(size)
                ),
            ]
        )
    names = [f"{a}{b}_{c}{d}" + (f"_({a}{c})" if kind == "character" else "") for a, b, c, d in parts.tolist()]
    return pl.Series([f"{name}{place}" for place, name in enumerate(names)])


def _batch(rng: np.random.Generator, first: int, size: int, number: int, words: dict[str, pl.Series]) -> pl.DataFrame:
    ids = np.arange(first, first + size)
    seconds = FIRST + (LAST - FIRST) * ids // number + rng.integers(0, 86400, size)
    columns = {
        "id": pl.Series(ids),
        "source": pl.Series(["danbooru"]).new_from_index(0, size),
        "rating": pl.Series(RATINGS[:4])[rng.choice(4, size, p=(0.35, 0.4, 0.15, 0.1))],
        "created_at": pl.Series(seconds * 1_000_000).cast(pl.Datetime("us", "UTC")),
        "score": pl.Series(rng.pareto(1.5, size) * 6 - rng.integers(0, 8, size)).cast(pl.Int64),
        "fav_count": pl.Series(rng.pareto(1.2, size) * 6).cast(pl.Int64).clip(0, 9_000),
        "aesthetic": pl.Series(rng.normal(5.5, 0.8, size)),
        "image": pl.format("{}.webp", pl.Series(ids)),
    }
    frame = pl.select(**columns)
    for kind, known in words.items():
        frame = frame.with_columns(_tags(rng, known, rng.poisson(PER_POST[kind], size)).alias(f"tags_{kind}"))
    missing = {name: pl.lit(None, dtype=kind) for name, kind in MANIFEST_SCHEMA.items() if name not in frame.columns}
    return frame.with_columns(**missing).select(*MANIFEST_SCHEMA).cast(pl.Schema(MANIFEST_SCHEMA))


def _tags(rng: np.random.Generator, words: pl.Series, counts: np.ndarray) -> pl.Series:
    """Return lists of words by Zipf's law, by the inverse of its distribution."""
    share = rng.random(int(counts.sum()))
    ranks = ((share * (len(words) ** (1 - HEAVY) - 1) + 1) ** (1 / (1 - HEAVY))).astype(np.int64) - 1
    rows = pl.DataFrame(
        {"row": np.repeat(np.arange(len(counts)), counts), "tag": words[np.minimum(ranks, len(words) - 1)]}
    )
    lists = rows.group_by("row", maintain_order=True).agg("tag")  # a tag may come twice, as in dirty sources
    every = pl.DataFrame({"row": np.arange(len(counts))}).join(lists, on="row", how="left", maintain_order="left")
    return every["tag"].fill_null([])
