"""Ledger of runs, executions and lineage in a SQLite file."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact, ArtifactType

_BUSY_SECONDS = 60.0
"""Time to wait for another writer before giving up."""

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, started TEXT NOT NULL, finished TEXT, status TEXT NOT NULL, config TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS executions (
    run TEXT NOT NULL REFERENCES runs(id), node TEXT NOT NULL, stage TEXT NOT NULL, component TEXT NOT NULL,
    fingerprint TEXT, status TEXT NOT NULL, seconds REAL NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (run, node)
);
CREATE TABLE IF NOT EXISTS lineage (
    run TEXT NOT NULL, node TEXT NOT NULL, direction TEXT NOT NULL CHECK (direction IN ('input', 'output')),
    name TEXT NOT NULL, type TEXT NOT NULL, fingerprint TEXT NOT NULL, uri TEXT NOT NULL
);
"""

_UNFIT = f"""
SELECT 'runs' WHERE EXISTS (SELECT 1 FROM runs WHERE
    typeof(id) <> 'text' OR length(CAST(id AS BLOB)) NOT BETWEEN 1 AND 100 OR id GLOB '*[^0-9A-Za-z_-]*'
    OR length(CAST(id AS BLOB)) <> length(id)
    OR typeof(started) <> 'text' OR typeof(finished) NOT IN ('text', 'null')
    OR typeof(status) <> 'text' OR typeof(config) <> 'text')
UNION ALL SELECT 'executions' WHERE EXISTS (SELECT 1 FROM executions WHERE
    typeof(run) <> 'text' OR typeof(node) <> 'text' OR typeof(stage) <> 'text' OR typeof(component) <> 'text'
    OR typeof(fingerprint) NOT IN ('text', 'null') OR typeof(status) <> 'text' OR typeof(message) <> 'text'
    OR typeof(seconds) <> 'real' OR NOT seconds BETWEEN 0 AND 1e9)
UNION ALL SELECT 'lineage' WHERE EXISTS (SELECT 1 FROM lineage WHERE
    typeof(run) <> 'text' OR typeof(node) <> 'text' OR typeof(name) <> 'text' OR typeof(uri) <> 'text'
    OR typeof(type) <> 'text' OR type NOT IN ({", ".join(f"'{each}'" for each in ArtifactType)})
    OR typeof(fingerprint) <> 'text' OR fingerprint = '' OR fingerprint GLOB '*[^0-9A-Za-z_-]*'
    OR length(CAST(fingerprint AS BLOB)) <> length(fingerprint))
"""
"""Tables with values that no run records. Ids and fingerprints become parts of paths, and SQLite enforces no types.

GLOB and length() end at a NUL, which a cast shows.
"""


class Ledger:
    """Ledger in a SQLite file; several processes may write to it at once.

    Runs are in the order in which they were recorded (`rowid`), not by their times: a clock may be set back.
    """

    def __init__(self, path: Path) -> None:
        """Open a ledger; the folder and the tables are created if they do not exist.

        This and all methods raise `UserError` where the file cannot be read or written, or is no ledger.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the folder '{path.parent}' cannot be used: {error.strerror}") from error
        self._path = path
        with self._connection() as connection:
            known, found = _tables_of_a_ledger(), _tables(connection)
            if not found.items() <= known.items():
                raise sqlite3.DatabaseError("it has other tables than a ledger, or other columns")
            if len(found) < len(known):
                connection.executescript(_TABLES)
            for row in connection.execute(_UNFIT):
                raise sqlite3.DatabaseError(f"its table '{row[0]}' has values that no run records")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as connection:
                connection.row_factory = sqlite3.Row
                with connection:
                    yield connection
        # Messages of SQLite that quote a damaged schema are no UTF-8.
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise UserError(
                    f"the ledger '{self._path}' was locked by another process for {_BUSY_SECONDS:g} s. End that "
                    "process, or wait, and run the same command again"
                ) from error
            raise UserError(
                f"the ledger '{self._path}' cannot be used: {error}. Look for a full or read-only disk; a file that is "
                "damaged, or not a ledger, must be moved away"
            ) from error

    def begin_run(self, run: str, config: Mapping[str, Any]) -> None:
        """Record the start of a run."""
        with self._connection() as connection:
            row = (run, _now(), "running", json.dumps(config, sort_keys=True))
            connection.execute("INSERT INTO runs (id, started, status, config) VALUES (?, ?, ?, ?)", row)

    def end_run(self, run: str, status: str) -> None:
        """Record the end of a run."""
        with self._connection() as connection:
            connection.execute("UPDATE runs SET finished = ?, status = ? WHERE id = ?", (_now(), status, run))

    def record(
        self,
        run: str,
        *,
        node: str,
        stage: str,
        component: str,
        fingerprint: str | None,
        status: str,
        seconds: float,
        message: str,
        inputs: Mapping[str, Sequence[Artifact]],
        outputs: Mapping[str, Artifact],
    ) -> None:
        """Record the outcome of a node, its inputs and its outputs."""
        lineage = [
            (run, node, "input", name, artifact.type.value, artifact.fingerprint, artifact.uri)
            for name, artifacts in inputs.items()
            for artifact in artifacts
        ]
        lineage += [
            (run, node, "output", name, artifact.type.value, artifact.fingerprint, artifact.uri)
            for name, artifact in outputs.items()
        ]
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO executions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run, node, stage, component, fingerprint, status, seconds, message),
            )
            connection.executemany("INSERT INTO lineage VALUES (?, ?, ?, ?, ?, ?, ?)", lineage)

    def runs(self, limit: int) -> list[dict[str, Any]]:
        """Return the latest runs, newest first, each with the outcomes of its nodes."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT id, started, finished, status FROM runs ORDER BY rowid DESC LIMIT ?", (limit,)
            ).fetchall()
            return [{**row, "nodes": self._nodes(connection, row["id"])} for row in map(dict, rows)]

    @staticmethod
    def _nodes(connection: sqlite3.Connection, run: str) -> list[dict[str, Any]]:
        query = "SELECT node, stage, status, seconds, message FROM executions WHERE run = ? ORDER BY rowid"
        return [dict(row) for row in connection.execute(query, (run,))]

    def outputs(self) -> set[tuple[str, str]]:
        """Return (type, fingerprint) of all artifacts that runs made or reused."""
        with self._connection() as connection:
            rows = connection.execute("SELECT DISTINCT type, fingerprint FROM lineage WHERE direction = 'output'")
            return {(row["type"], row["fingerprint"]) for row in rows}

    def delete_run(self, run: str) -> None:
        """Delete a run and what is recorded of it."""
        with self._connection() as connection:
            for table, column in (("lineage", "run"), ("executions", "run"), ("runs", "id")):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (run,))

    def unfinished(self) -> list[str]:
        """Return the ids of the runs whose end is not recorded: they run, or were killed."""
        with self._connection() as connection:
            return [row["id"] for row in connection.execute("SELECT id FROM runs WHERE finished IS NULL")]

    def latest_output(self, type_: str, run: str | None = None) -> tuple[str, str] | None:
        """Return (run, fingerprint) of the latest artifact of a type, among all runs or in one.

        Not its URI: a root may have been moved or copied since.
        """
        row = self._latest_output("lineage.type = ? AND (? IS NULL OR lineage.run = ?)", (type_, run, run))
        return None if row is None else (row["run"], row["fingerprint"])

    def producer(self, type_: str, fingerprint: str) -> str | None:
        """Return the latest run that made or reused an artifact, or None."""
        row = self._latest_output("lineage.type = ? AND lineage.fingerprint = ?", (type_, fingerprint))
        return None if row is None else str(row["run"])

    def latest_fingerprint(self, node: str, type_: str) -> str | None:
        """Return the fingerprint of the latest output of a node and type among all runs, or None."""
        row = self._latest_output("lineage.node = ? AND lineage.type = ?", (node, type_))
        return None if row is None else str(row["fingerprint"])

    def _latest_output(self, condition: str, values: tuple[str | None, ...]) -> sqlite3.Row | None:
        """Return the latest output that meets a condition written in this module, or None."""
        query = f"""
            SELECT lineage.run, lineage.fingerprint FROM lineage JOIN runs ON runs.id = lineage.run
            WHERE lineage.direction = 'output' AND {condition} ORDER BY runs.rowid DESC LIMIT 1
        """
        with self._connection() as connection:
            row: sqlite3.Row | None = connection.execute(query, values).fetchone()
        return row

    def duration(self, fingerprint: str) -> float | None:
        """Return the seconds that the latest execution took that made an output, or None."""
        query = """
            SELECT executions.seconds FROM executions JOIN runs ON runs.id = executions.run
            WHERE executions.fingerprint = ? AND executions.status = 'done'
            ORDER BY runs.rowid DESC LIMIT 1
        """
        with self._connection() as connection:
            row = connection.execute(query, (fingerprint,)).fetchone()
        return None if row is None else float(row["seconds"])

    def durations(self) -> dict[str, float]:
        """Return the seconds of the latest execution of each node that did work."""
        query = """
            SELECT executions.node, executions.seconds FROM executions JOIN runs ON runs.id = executions.run
            WHERE executions.status = 'done' ORDER BY runs.rowid
        """
        with self._connection() as connection:
            return {row["node"]: float(row["seconds"]) for row in connection.execute(query)}

    def run(self, run: str) -> dict[str, Any] | None:
        """Return a run with its config, nodes and output artifacts, or None if there is no such run."""
        with self._connection() as connection:
            row = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
            if row is None:
                return None
            nodes = connection.execute("SELECT * FROM executions WHERE run = ? ORDER BY rowid", (run,)).fetchall()
            made = connection.execute("SELECT * FROM lineage WHERE run = ? AND direction = 'output'", (run,)).fetchall()
            config = _config(row)
        return {
            **dict(row),
            "config": config,
            "nodes": [dict(node) for node in nodes],
            "outputs": [dict(output) for output in made],
        }


def _tables(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Return the columns of each table, and a key without columns for each view, trigger or virtual table."""
    # Indices of primary keys have no SQL, virtual tables no page.
    rows = connection.execute(
        "SELECT type || ' ' || name, type = 'table' AND rootpage > 0, name FROM sqlite_schema "
        "WHERE NOT (type = 'index' AND sql IS NULL)"
    ).fetchall()
    columns = "SELECT name FROM pragma_table_info(?)"
    return {
        key: tuple(str(column) for (column,) in connection.execute(columns, (name,))) if is_table else ()
        for key, is_table, name in rows
    }


@functools.cache
def _tables_of_a_ledger() -> Mapping[str, tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return _tables(connection)


def _config(row: sqlite3.Row) -> Mapping[str, Any]:
    try:
        config = json.loads(row["config"])
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise sqlite3.DatabaseError(f"the config of run '{row['id']}' is no JSON object")
    return config


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
