"""SQLite tables as Polars frames, through ADBC: Arrow columns, no Python object for a value."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import adbc_driver_manager as manager
import adbc_driver_sqlite as driver
import polars as pl

AT_ONCE = 2  # queries: the driver works without Python's lock


class Database:
    """A database that is only read."""

    def __init__(self, path: Path) -> None:
        """Open it; nothing is locked and nothing is written."""
        self._path = path
        self._database = driver.connect(f"file:{quote(str(path))}?mode=ro")
        self._connection = manager.AdbcConnection(self._database)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        self._database.close()

    def frame(self, query: str, *, rows: int = 1 << 20) -> pl.DataFrame:
        """Return the answer to a query; types are taken from the first `rows` rows, so let it be all of them."""
        statement = manager.AdbcStatement(self._connection)
        try:
            statement.set_options(**{driver.StatementOptions.BATCH_ROWS.value: str(rows)})
            statement.set_sql_query(query)
            stream, _ = statement.execute_query()
            return pl.DataFrame(stream)
        finally:
            statement.close()

    def frames(self, queries: Iterable[str], *, rows: int) -> Iterator[pl.DataFrame]:
        """Yield the answers to some queries in their order, the next ones read meanwhile."""
        coming: deque[Future[pl.DataFrame]] = deque()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for query in queries:
                coming.append(threads.submit(self._apart, query, rows))
                if len(coming) > AT_ONCE:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def _apart(self, query: str, rows: int) -> pl.DataFrame:
        with closing(Database(self._path)) as database:
            return database.frame(query, rows=rows)

    @cached_property
    def tables(self) -> frozenset[str]:
        """Return the names of tables and views."""
        return frozenset(self.frame("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")["name"])

    def columns(self, table: str) -> frozenset[str]:
        """Return the names of a table's columns."""
        return frozenset(self.frame(f"SELECT name FROM pragma_table_info('{table}')")["name"])


def cut(path: Path) -> str:
    """Return how much of a file is missing by its header (sqlite.org/fileformat2.html, 1.3); empty if nothing is."""
    with path.open("rb") as handle:
        head, size = handle.read(100), path.stat().st_size
    page = int.from_bytes(head[16:18], "big")
    whole = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    if size >= max(whole, 100) or head[24:28] != head[92:96]:  # an old SQLite wrote no number of pages
        return "" if size >= 100 else "it is cut off within its header"
    return f"it is cut off: it has {size:,} of {whole:,} bytes"


def fits(path: Path) -> bool:
    """Tell whether a file is one of SQLite's, or empty, as one that was never filled."""
    with path.open("rb") as handle:
        return handle.read(16) in (b"SQLite format 3\0", b"")
