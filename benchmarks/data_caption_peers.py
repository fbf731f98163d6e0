"""kohya's merge scripts and HakuBooru's captioner over the same synthetic posts, run from checkouts of their sources.

kohya's scripts import a trainer only to list image files: that one function is taken out of the checkout as it stands,
so that PyTorch and diffusers are not timed with them. HakuBooru needs peewee and python-dateutil.
"""

import ast
import itertools
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from enogu.captions.export import Export, export
from enogu.captions.reading import reader

HAKU_POSTS = 10_000  # timed of the whole, for it asks its database anew for every post
HAKU_TYPES = {"general": 0, "artist": 1, "character": 2, "copyright": 3, "meta": 4}  # its own numbers
HAKU_EMPTY = (  # columns that it selects and does not read
    *("uploader_id", "source", "md5", "parent_id", "has_children", "is_deleted", "is_banned", "pixiv_id", "bit_flags"),
    *(
        "has_active_children",
        "has_large",
        "has_visible_children",
        "image_width",
        "image_height",
        "file_size",
        "file_ext",
    ),
    *("up_score", "down_score", "file_url", "large_file_url", "preview_file_url", "updated_at"),
)
LISTED = "glob_images_pathlib"
HAKU = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hakubooru.dataset.db import load_db, Post
load_db(sys.argv[2])
from hakubooru.caption import KohakuCaptioner
captioner = KohakuCaptioner()
posts = list(Post.select().limit(int(sys.argv[3])))
started = time.process_time()
for post in posts:
    captioner.caption(post, b"")
print(time.process_time() - started)
"""


def raced(posts: Path, captions: Path, scratch: Path, sources: dict[str, Path]) -> Iterator[tuple[str, int, float]]:
    """Yield (what, how many, seconds of a core) for ours and for each peer whose sources are there."""
    started = cpu_seconds()
    made = Export(reader(captions, 0), posts, "tags")
    export(made, scratch / "ours.json", "in_json")
    yield "ours: in_json metadata from the packed captions", len(made), cpu_seconds() - started
    if sources["kohya"].is_dir():
        yield from _kohya(posts, captions, scratch / "kohya", sources["kohya"])
    if sources["hakubooru"].is_dir():
        yield from _hakubooru(posts, scratch, sources["hakubooru"])


def cpu_seconds() -> float:
    """Return the seconds of a core that this process and those it waited for have had."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _kohya(posts: Path, captions: Path, scratch: Path, source: Path) -> Iterator[tuple[str, int, float]]:
    """Join texts that are finished already: one file of tags and one of a sentence per image."""
    read = reader(captions, 0)
    folder, library = scratch / "images", scratch / "library"
    folder.mkdir(parents=True, exist_ok=True)
    for post in read.posts.tolist():
        (folder / f"{post}.png").touch()
        (folder / f"{post}.txt").write_text(read.plain(post))
        (folder / f"{post}.caption").write_text("A picture.")
    library.mkdir(exist_ok=True)
    (library / "train_util.py").write_text(_lister(source))
    (library / "utils.py").write_text("def setup_logging():\n    pass\n")
    inherited = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{scratch}{os.pathsep}{inherited}"}
    for script in ("merge_captions_to_metadata", "merge_dd_tags_to_metadata"):
        started = cpu_seconds()
        command = [sys.executable, str(source / "finetune" / f"{script}.py"), str(folder), str(scratch / "meta.json")]
        subprocess.run([*command, "--full_path"], check=True, capture_output=True, env=environment)
        yield f"kohya: {script}.py joins finished files", len(read.posts), cpu_seconds() - started


def _lister(source: Path) -> str:
    """Return the function of the trainer that lists images, and the constants that it names, as its source has them."""
    text = (source / "library" / "train_util.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    wanted = [
        ast.get_source_segment(text, node) or ""
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name == LISTED)
        or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "IMAGE_EXTENSIONS")
    ]
    return "from pathlib import Path\nfrom typing import List\nimport glob, os\n" + "\n\n".join(wanted) + "\n"


def _hakubooru(posts: Path, scratch: Path, source: Path) -> Iterator[tuple[str, int, float]]:
    database = scratch / "haku.db"
    if not database.exists():
        _haku_database(posts, database)
    number = min(HAKU_POSTS, pl.scan_parquet(posts / "manifest.parquet").select(pl.len()).collect().item())
    command = [sys.executable, "-c", HAKU, str(source), str(database), str(number)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=scratch)
    yield "HakuBooru: KohakuCaptioner over its SQLite", number, float(done.stdout.split()[-1])


def _haku_database(posts: Path, path: Path) -> None:
    """Write the first posts in HakuBooru's tables."""
    frame = pl.read_parquet(posts / "manifest.parquet", n_rows=HAKU_POSTS)
    ids: dict[str, int] = {}
    with sqlite3.connect(path) as database:
        database.execute(
            "create table tag (id integer primary key, name text unique, type integer, popularity integer)"
        )
        database.execute("create table posttagrelation (id integer primary key, post_id integer, tag_id integer)")
        columns = "id integer primary key, created_at text, rating integer, score integer, fav_count integer"
        database.execute(f"create table post ({columns}, {', '.join(HAKU_EMPTY)})")
        ratings = {"general": 0, "sensitive": 1, "questionable": 2, "explicit": 3}
        for row in frame.iter_rows(named=True):
            values = (row["id"], str(row["created_at"]), ratings[row["rating"]], row["score"], row["fav_count"])
            database.execute(
                "insert into post (id, created_at, rating, score, fav_count) values (?, ?, ?, ?, ?)", values
            )
            for kind, number in HAKU_TYPES.items():
                for tag in row[f"tags_{kind}"]:
                    if tag not in ids:
                        ids[tag] = len(ids) + 1
                        database.execute("insert into tag values (?, ?, ?, 0)", (ids[tag], tag, number))
                    relation = (row["id"], ids[tag])
                    database.execute("insert into posttagrelation (post_id, tag_id) values (?, ?)", relation)
        for name, column in itertools.product(("posttagrelation",), ("post_id", "tag_id")):
            database.execute(f"create index {name}_{column} on {name} ({column})")
