"""The drawn booru's metadata in the shapes of real dumps: danbooru API JSON, danbooru2023 SQLite, and the truth."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from enogu.core.records.files import atomic_path
from enogu.mini.post import Post

UPLOADER = 1
RATINGS = ("general", "sensitive", "questionable", "explicit")  # danbooru2023: 0 to 3; the API: first letters
TAG_TYPES = ("general", "artist", "character", "copyright", "meta")  # danbooru2023: 0 to 4, not danbooru's categories
SCHEMA = """
create table post (id integer primary key, created_at text, uploader_id integer, source text, md5 text,
  parent_id integer, has_children integer, is_deleted integer, is_banned integer, pixiv_id integer,
  has_active_children integer, bit_flags integer, has_large integer, has_visible_children integer,
  image_width integer, image_height integer, file_size integer, file_ext text, rating integer, score integer,
  up_score integer, down_score integer, fav_count integer, file_url text, large_file_url text,
  preview_file_url text, updated_at text);
create table tag (id integer primary key, name text unique, type integer, popularity integer);
create table posttagrelation (id integer primary key, post_id integer, tag_id integer);
create table localpost (id integer primary key, filepath text, latentpath text, post_id integer);
create index posttagrelation_post on posttagrelation (post_id);
create index posttagrelation_tag on posttagrelation (tag_id);
"""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A post whose image is on disk."""

    post: Post
    md5: str
    file_size: int


def write_json_lines(path: Path, stored: Sequence[Stored]) -> None:
    """Write one danbooru API post per line; `file_name` and `aesthetic` are additions of a local dump."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(json.dumps(_api(one), ensure_ascii=False) + "\n" for one in stored)


def write_sqlite(path: Path, stored: Sequence[Stored]) -> None:
    """Write the tables of danbooru2023-sqlite."""
    counts = Counter((kind, tag) for one in stored for kind, tags in one.post.tags.items() for tag in tags)
    ids = {tag: number for number, (_, tag) in enumerate(sorted(counts), 1)}
    links = [(one.post.id, ids[tag]) for one in stored for tags in one.post.tags.values() for tag in tags]
    rows = [tuple(_row(one).values()) for one in stored]
    with atomic_path(path) as part:
        base = sqlite3.connect(part)
        base.executescript(SCHEMA)
        base.executemany(f"insert into post values ({','.join('?' * len(rows[0]))})", rows)
        base.executemany(
            "insert into tag values (?, ?, ?, ?)",
            [(ids[tag], tag, TAG_TYPES.index(kind), counts[kind, tag]) for kind, tag in sorted(counts)],
        )
        base.executemany("insert into posttagrelation (post_id, tag_id) values (?, ?)", links)
        base.executemany(
            "insert into localpost (filepath, post_id) values (?, ?)", [(one.post.image, one.post.id) for one in stored]
        )
        base.commit()
        base.close()


def write_truth(path: Path, stored: Sequence[Stored]) -> None:
    """Write every attribute of every post; `figures` is a list of the characters' traits."""
    rows = [
        {
            "id": one.post.id,
            "image": one.post.image,
            "width": one.post.width,
            "height": one.post.height,
            **asdict(one.post.traits),
            "aesthetic": one.post.aesthetic,
            "draw_seed": one.post.draw_seed,
            "tags": list(one.post.tags["general"]),
        }
        for one in stored
    ]
    with atomic_path(path) as part:
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(part)


def _shared(one: Stored) -> dict[str, object]:
    """What the API and the SQLite dump have in common."""
    post = one.post
    stamp = post.created_at.isoformat(timespec="milliseconds")
    return {
        "id": post.id,
        "created_at": stamp,
        "uploader_id": UPLOADER,
        "source": f"https://enogu.invalid/works/{post.id}",
        "md5": one.md5,
        "parent_id": None,
        "has_children": False,
        "is_deleted": False,
        "is_banned": False,
        "pixiv_id": None,
        "has_active_children": False,
        "bit_flags": 0,
        "has_large": False,
        "has_visible_children": False,
        "image_width": post.width,
        "image_height": post.height,
        "file_size": one.file_size,
        "file_ext": post.ext,
        "rating": post.traits.rating[0],
        "score": post.up_score + post.down_score,
        "up_score": post.up_score,
        "down_score": post.down_score,
        "fav_count": post.fav_count,
        "file_url": f"https://enogu.invalid/{post.image}",
        "large_file_url": f"https://enogu.invalid/{post.image}",
        "preview_file_url": f"https://enogu.invalid/{post.image}",
        "updated_at": stamp,
    }


def _row(one: Stored) -> dict[str, object]:
    return {**_shared(one), "rating": RATINGS.index(one.post.traits.rating)}


def _api(one: Stored) -> dict[str, object]:
    tags = one.post.tags
    every = sorted(tag for group in tags.values() for tag in group)
    return {
        **_shared(one),
        "approver_id": None,
        "is_pending": False,
        "is_flagged": False,
        "tag_string": " ".join(every),
        **{f"tag_string_{kind}": " ".join(group) for kind, group in tags.items()},
        "tag_count": len(every),
        **{f"tag_count_{kind}": len(group) for kind, group in tags.items()},
        "file_name": one.post.image,
        "aesthetic": one.post.aesthetic,
    }
