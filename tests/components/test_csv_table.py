"""The CSV reader: what people's tables look like, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.components.csv_table import CsvTable, read_csv


def read(folder: Path, content: bytes | str, *, lower_case: bool = False) -> CsvTable:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv(path, lower_case=lower_case)


def test_quoted_values_may_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    table = read(tmp_path, 'id,remark\na,"one, two"\nb,"three\nfour ""five"""\n')
    assert [row["remark"] for row in table.rows] == ["one, two", 'three\nfour "five"']


def test_a_table_of_one_column_may_have_empty_lines(tmp_path: Path) -> None:
    assert [row["id"] for row in read(tmp_path, "id\na\n\nb\n").rows] == ["a", "b"]


@pytest.mark.parametrize("content", ["", "\n\n", "id,age\n"])
def test_a_table_may_have_no_rows(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content).rows == ()


def test_a_column_that_stands_twice_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table\.csv' has the column 'dx' twice \(columns 2 and 4\)"):
        read(tmp_path, "id,dx,age,dx\na,mel,1,nv\n")
    assert read(tmp_path, "id,dx,DX\na,mel,nv\n").columns == ("id", "dx", "DX")
    with pytest.raises(UserError, match="'dx' twice"):
        read(tmp_path, "id,dx,DX\na,mel,nv\n", lower_case=True)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv' cannot be read: No such file"):
        read_csv(tmp_path / "none.csv")


def test_a_missing_column_is_named_with_at_most_twenty_that_are_there(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(30)]
    table = read(tmp_path, ",".join(names) + "\n")
    table.require(names, "")
    with pytest.raises(UserError) as raised:
        table.require(("c1", "dx"), "The audit needs it.")
    assert "table.csv' has no column 'dx' (found: c0, c1, " in str(raised.value)
    assert str(raised.value).endswith("c19, and 10 more). The audit needs it.")
