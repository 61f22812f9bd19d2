"""Tables of metadata: what spreadsheets and scripts write, and what is no table."""

from __future__ import annotations

import os
from pathlib import Path

from tests.corpus.case import Case, bad, good, hostile, written

_HEADER = "image_id,dx,age"
_ROWS = "a,mel,40\nb,nv,50\n"
_TABLE = f"{_HEADER}\n{_ROWS}"
_MANY = [",".join(f"c{index}" for index in range(count)) for count in (2_000, 30_000)]


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "metadata.csv")
    return folder / "metadata.csv"


def device(folder: Path) -> Path:
    (folder / "metadata.csv").symlink_to("/dev/zero")
    return folder / "metadata.csv"


def sparse(folder: Path) -> Path:
    """A table of 4 GiB that takes no room on the disk."""
    path = folder / "metadata.csv"
    path.write_text(_TABLE)
    os.truncate(path, 4 << 30)
    return path


_REFUSED: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", r"has no column 'image_id' \(found: none\)"),
    "line breaks alone": ("\n\n", "has no column 'image_id'"),
    "no image_id": (_TABLE.replace("image_id", "name"), r"no column 'image_id' \(found: name, dx, age\)"),
    "no dx": (_TABLE.replace("dx", "diagnosis"), "no column 'dx'"),
    "a column twice": (_TABLE.replace("age", "dx"), r"the column 'dx' twice \(columns 2 and 3\)"),
    "no header": (_ROWS, "no column 'image_id'"),
    "separated by pipes": (_TABLE.replace(",", "|"), "no column 'image_id'"),
    "separated by spaces": (_TABLE.replace(",", " "), "no column 'image_id'"),
    "a row too short": (f"{_TABLE}c\n", "line 4: 1 value, but the header has 3"),
    "a row too long": (f"{_TABLE}c,nv,40,x\n", "line 4: 4 values, but the header has 3"),
    "an open quote": (_TABLE.replace("a,", '"a,'), "line 2: 1 value, but the header has 3"),
    "other separators in the rows": (f"{_HEADER}\n" + _ROWS.replace(",", ";"), "line 2: 1 value"),
    "UTF-16": (_TABLE.encode("utf-16"), "not a text table in UTF-8: .*NUL"),
    "UTF-32": (_TABLE.encode("utf-32"), "not a text table in UTF-8: .*NUL"),
    "Latin-1": (_TABLE.replace("a,", "é,").encode("latin-1"), "not a text table in UTF-8"),
    "NUL": (_TABLE.replace("a,", "a\0,"), "not a text table in UTF-8"),
    "a spreadsheet": (b"PK\x03\x04\x14\0\x06\0" + bytes(range(256)) * 8, "not a text table in UTF-8"),
    "a database": (b"SQLite format 3\0" + bytes(4000), "not a text table in UTF-8"),
    "JSON": ('[{"image_id": "a", "dx": "nv"}]', "is not a text table in UTF-8"),
    "2,000 columns": (f"{_MANY[0]}\n{_MANY[0]}\n", r"found: c0, .*c19, and 1980 more"),
}

CASES: tuple[Case, ...] = (
    *(
        good(name, written(content, "metadata.csv"))
        for name, content in {
            "commas": _TABLE,
            "semicolons": _TABLE.replace(",", ";"),
            "tabs": _TABLE.replace(",", "\t"),
            "byte order mark": f"\ufeff{_TABLE}",
            "lines end in CRLF": _TABLE.replace("\n", "\r\n"),
            "lines end in CR": _TABLE.replace("\n", "\r"),
            "no line break at the end": _TABLE[:-1],
            "empty lines": _TABLE.replace("\n", "\n\n"),
            "margins": _TABLE.replace(",", " , "),
            "quotes": "\n".join(",".join(f'"{value}"' for value in line.split(",")) for line in _TABLE.splitlines()),
            "line break in quotes": _TABLE.replace("40", '"4\n0"').replace(_HEADER, "image_id,dx,remark"),
            "unnamed columns": "\n".join(f"{line},," for line in _TABLE.splitlines()),
            "index of pandas": "\n".join(f",{line}" for line in _TABLE.splitlines()),
            "further columns": "\n".join(f"{line},x" for line in _TABLE.splitlines()),
            "another order of columns": "\n".join(",".join(line.split(",")[::-1]) for line in _TABLE.splitlines()),
            "no age": "\n".join(line.rpartition(",")[0] for line in _TABLE.splitlines()),
        }.items()
    ),
    *(bad(name, written(content, "metadata.csv"), told) for name, (content, told) in _REFUSED.items()),
    hostile("a pipe", pipe, "there is no table|no regular file"),
    hostile("a device", device, "there is no table|no regular file"),
    hostile("4 GiB", sparse, "at most 1073741824 are read"),
    hostile("30,000 columns", written(f"{_MANY[1]}\n{_MANY[1]}\n", "metadata.csv"), "at most 10000 are read"),
    hostile("a value of 16 MiB", written(f"{_TABLE}{'x' * (16 << 20)}", "metadata.csv"), "line 4: 1 value"),
)
