"""Folds: every row validates once, classes are shared out, groups stay together."""

import numpy as np
import pytest

from fastmlp.tabular.folds import check_classes, make_folds


def folds_of(n_rows, n_networks, seed=0, **options):
    return make_folds(n_rows, n_networks, np.random.default_rng(seed), **options)


@pytest.mark.parametrize(("n_rows", "n_networks"), [(20, 4), (23, 8), (8, 8), (5, 2)])
def test_each_row_validates_one_network_and_trains_all_others(n_rows, n_networks):
    folds = folds_of(n_rows, n_networks)
    seen = np.concatenate([fold.validation for fold in folds])
    assert sorted(seen) == list(range(n_rows))
    for fold in folds:
        assert sorted([*fold.training, *fold.validation]) == list(range(n_rows))
    sizes = [len(fold.validation) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


def test_a_single_network_validates_by_a_fifth():
    (fold,) = folds_of(100, 1)
    assert len(fold.validation) == 20
    assert len(fold.training) == 80
    assert not np.intersect1d(fold.training, fold.validation).size


def test_folds_have_their_share_of_each_class():
    labels = np.repeat([0, 1, 2], [50, 31, 9])
    labels = np.random.default_rng(1).permutation(labels)
    for fold in folds_of(90, 5, labels=labels):
        counts = np.bincount(labels[fold.validation], minlength=3)
        assert counts[0] == 10
        assert counts[1] in (6, 7)
        assert counts[2] in (1, 2)
    (fold,) = folds_of(90, 1, labels=labels)
    assert np.bincount(labels[fold.validation])[0] == 10


def test_groups_stay_together():
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 12, 100).astype(str)
    for n_networks in (4, 1):
        for fold in folds_of(100, n_networks, groups=groups):
            assert not set(groups[fold.training]) & set(groups[fold.validation])
    sizes = [len(fold.validation) for fold in folds_of(100, 4, groups=groups)]
    assert max(sizes) - min(sizes) <= np.bincount(groups.astype(int)).max()


def test_a_seed_is_a_split():
    first, again, other = (folds_of(40, 4, seed) for seed in (0, 0, 1))
    same = [np.array_equal(a.validation, b.validation) for a, b in zip(first, again, strict=True)]
    assert all(same)
    assert any(
        not np.array_equal(a.validation, b.validation) for a, b in zip(first, other, strict=True)
    )


def test_networks_go_round_the_folds_of_a_splitter():
    model_selection = pytest.importorskip("sklearn.model_selection")
    splitter = model_selection.TimeSeriesSplit(3)
    folds = folds_of(40, 5, cv=splitter, X=np.zeros((40, 1)))
    wanted = list(splitter.split(np.zeros(40)))
    assert len(folds) == 5
    for i, fold in enumerate(folds):
        training, validation = wanted[i % 3]
        np.testing.assert_array_equal(fold.training, training)
        np.testing.assert_array_equal(fold.validation, validation)
        assert fold.training.max() < fold.validation.min()


def test_a_splitter_is_given_the_groups():
    model_selection = pytest.importorskip("sklearn.model_selection")
    groups = np.repeat([7, 3, 5], 4)
    cv = model_selection.LeaveOneGroupOut()
    folds = folds_of(12, 3, cv=cv, groups=groups, X=np.zeros((12, 1)))
    assert sorted(set(groups[fold.validation]).pop() for fold in folds) == [3, 5, 7]


def test_splits_may_be_masks_or_numbers():
    mask = np.arange(10) < 7
    (fold,) = folds_of(10, 1, cv=[(mask, ~mask)])
    np.testing.assert_array_equal(fold.training, np.arange(7))
    (fold,) = folds_of(10, 1, cv=[([3, 1], [0])])
    np.testing.assert_array_equal(fold.training, [1, 3])


def test_a_number_of_folds():
    folds = folds_of(30, 6, cv=3)
    assert folds[0] is folds[3]
    assert len({id(fold) for fold in folds}) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_networks": 8}, ValueError, r"at least as many rows as folds, 8 .*, got 6"),
        ({"cv": 7}, ValueError, r"at least as many rows as folds, 7 for cv=7, got 6"),
        ({"n_networks": 3, "groups": [0, 0, 0, 1, 1, 1]}, ValueError, "groups as folds, 3"),
        ({"groups": [0, 1]}, ValueError, r"groups must have the shape \(6,\)"),
        ({"groups": [[0], [1, 2]] * 3}, ValueError, "groups must have one value for each row of"),
        ({"groups": [0, "a", 1, 1, 1, None]}, TypeError, "groups must have values that can be"),
        ({"cv": 1}, ValueError, "cv must be an integer of at least 2"),
        ({"cv": "three"}, TypeError, "cv must be an integer, a splitter"),
        ({"cv": []}, ValueError, "at least one fold, got none"),
        ({"cv": [([0, 1], [1, 2])]}, ValueError, "fold 0 has row 1 in both"),
        ({"cv": [([0, 1], [])]}, ValueError, "got no validation rows of fold 0"),
        ({"cv": [([0, 6], [1])]}, ValueError, "rows from 0 to 5, got 6 in training rows"),
        ({"cv": [([0.5], [1])]}, TypeError, "numbers of rows or masks"),
        ({"cv": [[0, 1, 2]]}, TypeError, r"pairs \(training, validation\)"),
    ],
)
def test_bad_folds_are_refused_in_a_sentence(options, error, message):
    options = {"n_networks": 1, **options}
    with pytest.raises(error, match=message):
        folds_of(6, options.pop("n_networks"), **options)


def test_a_class_that_a_fold_cannot_train_on_is_named():
    labels = np.array([0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="trains on no row of class 'rare', which has 1 in all"):
        check_classes(folds_of(5, 2, labels=labels), labels, np.array(["often", "rare"], object))
    check_classes(folds_of(6, 2), np.zeros(6, int), np.array(["only"]))


@pytest.mark.parametrize(
    ("classes", "written"),
    [
        (np.array([0, 7]), "7"),
        (np.array([0.5, 1.5], np.float32), "1.5"),
        (np.array([False, True]), "True"),
        (np.array(["often", "rare"]), "'rare'"),
    ],
)
def test_a_class_is_written_as_python_would(classes, written):
    labels = np.array([0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match=f"trains on no row of class {written}, which has 1 in"):
        check_classes(folds_of(5, 2, labels=labels), labels, classes)
