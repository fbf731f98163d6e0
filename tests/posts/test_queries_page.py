"""docs/queries.md: every query on it is asked of the drawn booru of the demo, and answers as the page says."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.posts import RATINGS
from enogu.core.records.progress import silent
from enogu.mini.config import BooruConfig
from enogu.mini.dumps import Stored, write_json_lines
from enogu.mini.post import compose
from enogu.posts.config import PostsConfig, Where
from enogu.posts.importing import import_posts
from enogu.posts.query_columns import columns
from enogu.posts.query_syntax import parse
from enogu.posts.select import select
from enogu.posts.sources import find
from enogu.posts.tag_indexing import indexed

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text("utf-8")
ANSWERED = re.findall(r"^\| `(.+?)` \| ([\d,]+|-) \|", PAGE, re.MULTILINE)
SLIPS = re.findall(r"^\| `(.+?)` \| (?![\d,-]+ \|)(.+) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The posts of the demo's booru `new`, without their pictures."""
    folder = tmp_path_factory.mktemp("drawn")
    demo = tomllib.loads((files("enogu.recipe") / "data" / "demo.toml").read_text("utf-8"))
    posts = compose(BooruConfig(**demo["booru"]["new"], seed=demo["recipe"]["seed"]))
    write_json_lines(folder / "posts.jsonl", [Stored(post=one, md5=f"{one.id:032x}", file_size=9000) for one in posts])
    path, kind = find(folder / "posts.jsonl", "auto")
    config = PostsConfig(source=str(path))
    import_posts(path, kind, folder / "posts.parquet", config=config, progress=silent)
    return indexed(folder / "posts.parquet")


@pytest.mark.parametrize(("query", "posts"), ANSWERED)
def test_it_finds_as_many_as_the_page_says(drawn, query, posts):
    everyone = Where(rating=RATINGS, deleted=True, banned=True, min_side=0, query=query)
    found = select(drawn, everyone, seed=0)
    if posts != "-":  # it depends on the pictures
        assert len(found.rows) == int(posts.replace(",", ""))
    assert bool(found.notes) == (query == "1gril")


@pytest.mark.parametrize(("query", "why"), SLIPS)
def test_it_is_refused_as_the_page_says(query, why):
    with pytest.raises(Refused, match=re.escape(why)):
        parse(query)


def test_the_page_names_every_column():
    names = PAGE.partition("The names, all of them")[2].partition("Text is not")[0]
    assert sorted(re.findall(r"`(\w+)`", names)) == sorted(columns())
    assert len(ANSWERED) > 40
    assert len(SLIPS) > 10
