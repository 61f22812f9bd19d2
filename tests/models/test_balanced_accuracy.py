"""Balanced accuracy agrees with scikit-learn, from predictions and from a confusion matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from dermrobust.models.balanced_accuracy import balanced_accuracy, mean_recall

answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@given(answers)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_it_is_the_mean_recall_over_the_classes_that_are_present(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.transpose(pairs)
    confusion = confusion_matrix(labels, predicted, labels=range(5))

    expected = pytest.approx(balanced_accuracy_score(labels, predicted))

    assert balanced_accuracy(labels, labels == predicted) == expected
    assert mean_recall(np.diag(confusion), confusion.sum(axis=1)) == expected
