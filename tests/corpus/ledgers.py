"""Ledgers: SQLite files that were damaged, are other databases, or hold what no run records."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dermrobust.pipeline.ledger import Ledger
from tests.corpus.case import Case, bad, good, hostile, written

NAME = "ledger.sqlite"


def ledger(folder: Path) -> Path:
    """Record two runs."""
    path = folder / NAME
    record = Ledger(path)
    for run in ("20260101T000000-aaaaaa", "20260102T000000-bbbbbb"):
        record.begin_run(run, {"seed": 1})
        record.record(
            run,
            node="train[one]",
            stage="train",
            component="train",
            fingerprint="f" * 32,
            status="done",
            seconds=1.5,
            message="x" * 5000,
            inputs={},
            outputs={},
        )
    record.end_run("20260102T000000-bbbbbb", "succeeded")
    return path


def _with(statement: str, *values: Any) -> Callable[[Path], Path]:
    """A ledger on which statements were executed."""

    def make(folder: Path) -> Path:
        path = ledger(folder)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            if values:
                connection.execute(statement, values)
            else:
                connection.executescript(statement)
        return path

    return make


def _database(script: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with contextlib.closing(sqlite3.connect(folder / NAME)) as connection:
            connection.executescript(script)
        return folder / NAME

    return make


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = ledger(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def _output(type_: str, fingerprint: str) -> Callable[[Path], Path]:
    """A ledger with an output of its first run."""
    return _with(
        "INSERT INTO lineage VALUES ('20260101T000000-aaaaaa', 'gate', 'output', 'x', ?, ?, 'uri')", type_, fingerprint
    )


_SCHEMA = "cannot be used: it has other tables than a ledger, or other columns"
_VALUES = "cannot be used: its table '{}' has values that no run records"
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, '', '', '', '' FROM n"

CASES: tuple[Case, ...] = (
    good("as it was written", ledger),
    good("an empty file", written(b"", NAME)),
    good("a table that is not there yet", _with("DROP TABLE lineage")),
    good("markup in a message", _with("UPDATE executions SET message = ?", "<script>alert(1)</script>")),
    bad("text", written("id,status\n" * 500, NAME), "cannot be used: file is not a database"),
    bad("cut in a page", _rewritten(lambda content: content[:9000]), "cannot be used: .*malformed"),
    bad("a header alone", _rewritten(lambda content: content[:100]), "cannot be used"),
    bad("zeros for a page", _rewritten(lambda content: content[:4096] + bytes(4096) + content[8192:]), "malformed"),
    bad(
        "a schema that is no UTF-8",
        _rewritten(lambda content: content.replace(b"CREATE TABLE lineage", b"CR\x80ATE TABLE lineage")),
        "cannot be used",
    ),
    bad("another database", _database("CREATE TABLE moz_places (id INTEGER PRIMARY KEY)"), _SCHEMA),
    bad("a table of the same name", _database("CREATE TABLE runs (name TEXT)"), _SCHEMA),
    bad("a column too many", _with("ALTER TABLE runs ADD COLUMN extra"), _SCHEMA),
    bad("text for seconds", _with("UPDATE executions SET seconds = 'many'"), _VALUES.format("executions")),
    bad("endless seconds", _with("UPDATE executions SET seconds = 9e999"), _VALUES.format("executions")),
    bad("a config that is cut", _with("UPDATE runs SET config = '{'"), "config of run '.*' is no JSON object"),
    bad("a list for a config", _with("UPDATE runs SET config = '[]'"), "config of run '.*' is no JSON object"),
    bad("a message that is no UTF-8", _with("UPDATE executions SET message = CAST(x'ff' AS TEXT)"), "UTF-8"),
    bad("a type of no artifact", _output("nothing", "f" * 32), _VALUES.format("lineage")),
    hostile(
        "a run's id leads outside",
        _with("INSERT INTO runs VALUES (?, '2026', NULL, 'running', '{}')", "x/../../../../escaped"),
        _VALUES.format("runs"),
    ),
    hostile(
        "NUL in a run's id",
        _with("INSERT INTO runs VALUES (?, '2026', NULL, 'running', '{}')", "x\0/../../x"),
        _VALUES.format("runs"),
    ),
    hostile(
        "a run's id of 5,000 characters",
        _with("INSERT INTO runs VALUES (?, '2026', NULL, 'running', '{}')", "x" * 5000),
        _VALUES.format("runs"),
    ),
    hostile(
        "no id of a run", _with("INSERT INTO runs VALUES (NULL, '2026', NULL, 'running', '{}')"), _VALUES.format("runs")
    ),
    hostile("bytes for a status", _with("UPDATE runs SET status = x'00ff'"), _VALUES.format("runs")),
    hostile("a fingerprint leads outside", _output("evaluation", "../../../../escaped"), _VALUES.format("lineage")),
    hostile("NUL in a fingerprint", _output("evaluation", "f\0"), _VALUES.format("lineage")),
    hostile(
        "a config nested 100,000 times", _with("UPDATE runs SET config = ?", '{"a":' * 100_000), "is no JSON object"
    ),
    hostile(
        "a view without end",
        _with(f"DROP TABLE runs; CREATE VIEW runs (id, started, finished, status, config) AS {_ENDLESS}"),
        _SCHEMA,
    ),
    hostile(
        "a trigger that deletes",
        _with("CREATE TRIGGER runs AFTER INSERT ON runs BEGIN DELETE FROM runs; DELETE FROM executions; END"),
        _SCHEMA,
    ),
    hostile(
        "a virtual table",
        # As if it had been created: not every build of SQLite has a module for one.
        _with(
            "DROP TABLE lineage; PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES "
            "('table', 'lineage', 'lineage', 0, 'CREATE VIRTUAL TABLE lineage USING fts4(run, node)')"
        ),
        _SCHEMA,
    ),
)
