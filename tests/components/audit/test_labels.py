"""Tables of labels as people have them."""

import math
from pathlib import Path

import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.components.audit.labels import in_order, read_labels
from dermrobust.components.audit.matching import image_files, matched
from dermrobust.components.image_record import ImageRecord
from dermrobust.models.task import Metadata
from dermrobust.models.tasks.ham10000 import TASK
from tests.datasets import write_files

TWO = "image_id,dx\na,mel\nb,nv\n"


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        "image,label\na.jpg,MEL\nb.jpg,NV\n",
        "filename;diagnosis;comment\nfolder/a.PNG;mel;x\nb.png;nv;y\n",
        "\ufeffImage_ID\tDX\na\tmel\n\t\nb\tnv\n",
        "image,MEL,NV,comment\na,1.0,0.0,x\nb,0,1,y\n",
        "image,MEL,NV,UNK\na,1.0,0.0,0.0\nb,0,1,0\n",
    ],
)
def test_tables_of_many_kinds_say_the_same(text: str, tmp_path: Path) -> None:
    labels = read_labels(table(tmp_path, text))

    assert [(row.image_id, row.class_name) for row in labels.rows] == [("a", "mel"), ("b", "nv")]
    assert labels.class_names == ("mel", "nv")
    assert labels.missing == ("lesion_id", "age", "sex", "localization")


def test_a_class_column_without_images_is_a_class_all_the_same(tmp_path: Path) -> None:
    text = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,0,0,0,0,0,0\nb,0,1,0,0,0,0,0\n"

    assert read_labels(table(tmp_path, text)).class_names == TASK.class_names


def test_what_is_known_of_a_lesion_is_kept(tmp_path: Path) -> None:
    text = "image_id,dx,age,sex,localization,lesion_id\na,mel,60,F,back,L1\nb,nv,,unknown,,\n"

    known, unknown = read_labels(table(tmp_path, text)).rows

    metadata: Metadata = {"age": 60.0, "age_group": "60-79", "sex": "female", "localization": "back"}
    assert known == ImageRecord("a", "mel", "L1", metadata)
    age = unknown.metadata.pop("age")
    assert isinstance(age, float)
    assert math.isnan(age)
    assert unknown.group == ""
    assert unknown.metadata == {"age_group": "unknown", "sex": "unknown", "localization": "unknown"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (reversed(TASK.class_names), TASK.class_names),
        (("nv", "mel"), ("mel", "nv")),
        (("10", "9", "2"), ("2", "9", "10")),
    ],
)
def test_classes_have_an_order(names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert in_order(names) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no rows"),
        ("image_id,dx\n", "has no rows"),
        ("dx\nmel\nnv\n", "no column image_id"),
        ("image_id,age\na,30\nb,40\n", "no column dx.*found: image_id, age"),
        ("image_id,dx\na,mel\nb,\n", r"1 image \(b\) without a class"),
        ("image_id,dx\na,mel\nb,NaN\nc,nv\nd,unknown\n", r"2 images \(b, d\) without a class"),
        ("image_id,dx\na,mel\na.jpg,nv\n", r"names 1 image \(a\) more than once"),
        ("image_id,dx\na,mel\nb,mel\n", "all 2 images are of the class 'mel'"),
        ("image_id,dx,age\na,mel,old\nb,nv,3\n", "image 'a': age 'old' is not a number"),
        ("image_id,dx,age\na,mel,-1\nb,nv,3\n", "image 'a': age '-1' is not between 0 and 130 years"),
        ("image,MEL,NV\na,1,1\nb,0,1\n", "'a' is marked as mel and nv"),
        ("image,MEL,NV\na,0,0\nb,0,1\n", "'a' is marked as no class"),
        ("image_id,dx,DX\na,mel,nv\nb,nv,mel\n", r"the column 'dx' twice \(columns 2 and 3\)"),
        ("image_id,dx\na,mel\nb\n", "line 3: 1 value, but the header has 2"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        read_labels(table(tmp_path, text))


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "nonesuch.csv")
    (tmp_path / "labels.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="not a text table"):
        read_labels(tmp_path / "labels.csv")


def test_images_are_found_below_folders_by_their_name(tmp_path: Path) -> None:
    write_files(tmp_path / "one", {"a.jpg": b"", "notes.txt": b""})
    write_files(tmp_path / "two", {"b.x.PNG": b"", "._a.jpg": b""})

    assert sorted(image_files(tmp_path)) == ["a", "b.x"]


def test_folders_without_images_or_with_two_of_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no images"):
        image_files(tmp_path)
    write_files(tmp_path, {"a.jpg": b"", "a.png": b""})
    with pytest.raises(UserError, match="two images are called 'a'"):
        image_files(tmp_path)
    with pytest.raises(UserError, match="no folder of images"):
        image_files(tmp_path / "nonesuch")


@pytest.mark.parametrize(
    ("names", "classes", "told"),
    [
        ("a", ("mel", "nv"), r"1 image \(b\) in the table without a file.*leave the rows out"),
        ("abcdefg", ("mel", "nv"), r"5 images \(c, d, e, …\) in the folder without a label.*add rows"),
        ("ab", ("benign", "mel"), r"classes that the model does not have: nv \(its classes: benign, mel\).*--classes"),
    ],
)
def test_images_and_labels_must_match(names: str, classes: tuple[str, ...], told: str, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in names}

    with pytest.raises(UserError, match=told):
        matched(read_labels(table(tmp_path, TWO)), files, classes)


def test_the_order_of_images_hangs_on_their_names_alone(tmp_path: Path) -> None:
    names = [f"I{index}" for index in range(20)]
    files = {name: tmp_path / name for name in names}

    def order(rows: list[str]) -> list[str]:
        text = "image_id,dx\n" + "".join(f"{name},{'mel' if name < 'I5' else 'nv'}\n" for name in rows)
        return [row.image_id for row in matched(read_labels(table(tmp_path, text)), files, ("mel", "nv"))]

    assert order(names) == order(names[::-1]) != sorted(names)
