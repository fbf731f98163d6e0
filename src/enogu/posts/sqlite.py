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


def fits(path: Path) -> bool:
    """Tell whether a file is one of SQLite's, or empty, as one that was never filled."""
    with path.open("rb") as handle:
        return handle.read(16) in (b"SQLite format 3\0", b"")
