"""SQLite tables as Polars frames, through ADBC: Arrow columns, no Python object for a value."""

from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import adbc_driver_manager as manager
import adbc_driver_sqlite as driver
import polars as pl


class Database:
    """A database that is only read."""

    def __init__(self, path: Path) -> None:
        """Open it; nothing is locked and nothing is written."""
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
