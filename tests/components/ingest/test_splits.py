"""Images of one group are never on both sides of a split, and a split stays as it is when the data grow."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from dermrobust.components.examples import Split
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.ingest.splits import SplitFractions

names = st.text(max_size=12)
shares = st.floats(0.01, 0.49)
fractions = st.builds(SplitFractions, validation=shares, test=shares, salt=st.text(min_size=1, max_size=8))
records = st.lists(
    st.builds(ImageRecord, image_id=names, group=names, class_name=st.sampled_from(["mel", "nv", "bkl"])), max_size=60
)


def lesions(count: int, images: int = 1) -> list[ImageRecord]:
    return [
        ImageRecord(image_id=f"I{lesion}_{image}", group=f"L{lesion}", class_name="nv")
        for lesion in range(count)
        for image in range(images)
    ]


@given(records=records, fractions=fractions)
def test_no_lesion_is_in_two_splits(records: list[ImageRecord], fractions: SplitFractions) -> None:
    splits: dict[str, set[Split]] = defaultdict(set)
    for record in records:
        if record.group:
            splits[record.group].add(fractions.assign(record))
    assert all(len(found) == 1 for found in splits.values())


@given(first=records, second=records, fractions=fractions)
def test_adding_records_moves_none(
    first: list[ImageRecord], second: list[ImageRecord], fractions: SplitFractions
) -> None:
    before = [fractions.assign(record) for record in first]
    after = [fractions.assign(record) for record in [*second, *first]]
    assert after[len(second) :] == before


@given(lesion=st.text(min_size=1, max_size=12), images=st.tuples(names, names), dx=st.tuples(names, names))
def test_neither_the_image_nor_its_class_decides(lesion: str, images: tuple[str, str], dx: tuple[str, str]) -> None:
    fractions = SplitFractions(0.3, 0.3, "salt")
    first, second = (
        ImageRecord(image_id=images[i], group=lesion, class_name=dx[i], metadata={"age": float(i)}) for i in range(2)
    )
    assert fractions.assign(first) == fractions.assign(second)


def test_the_splits_of_published_images_are_those_of_earlier_versions() -> None:
    """Whoever changes the hash compares models on images that one of them has learnt."""
    fractions = SplitFractions(0.1, 0.2, "dermrobust")
    assigned = "".join(fractions.assign(record).value[1] for record in lesions(24))
    assert assigned == "rerrrreerrererreerrrrrre", "second letters of train, validation and test"


def test_another_salt_gives_another_split() -> None:
    one, other = SplitFractions(0.1, 0.2, "one"), SplitFractions(0.1, 0.2, "other")
    moved = sum(one.assign(record) != other.assign(record) for record in lesions(2000))
    # Two independent draws differ with probability 1 - (0.7² + 0.1² + 0.2²) = 0.46.
    assert 0.42 < moved / 2000 < 0.50


def test_fractions_are_kept_on_many_lesions() -> None:
    fractions = SplitFractions(validation=0.15, test=0.25, salt="salt")
    counts = Counter(fractions.assign(record) for record in lesions(20_000, images=2))
    shares = {split: counts[split] / 40_000 for split in Split}
    for split, share in {Split.TRAIN: 0.6, Split.VALIDATION: 0.15, Split.TEST: 0.25}.items():
        assert abs(shares[split] - share) < 0.015, shares


def test_a_larger_validation_share_takes_nothing_from_test() -> None:
    small, large = SplitFractions(0.1, 0.2, "salt"), SplitFractions(0.3, 0.2, "salt")
    for record in lesions(500):
        if small.assign(record) != Split.TRAIN:
            assert large.assign(record) == small.assign(record)


def test_images_without_a_lesion_id_are_each_a_lesion_of_their_own() -> None:
    fractions = SplitFractions(0.1, 0.2, "salt")
    counts = Counter(fractions.assign(ImageRecord(image_id=f"I{index}", class_name="nv")) for index in range(2000))
    assert 0.16 < counts[Split.TEST] / 2000 < 0.24
    assert 0.07 < counts[Split.VALIDATION] / 2000 < 0.13
