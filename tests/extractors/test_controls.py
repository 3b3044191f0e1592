"""The controls: which dimensions, and whose features."""

import json

import numpy as np
import pytest

from koala.extractors import controls
from koala.system.errors import KoalaError

ROWS = {
    "train": np.arange(0, 60),
    "validation": np.arange(60, 70),
    "test": np.array([77, 70, 75, 72, 71, 74, 73, 76, 78, 79]),
}
CATEGORIES = np.array(list("abcd") * 20)
ARRAY = np.random.default_rng(0).normal(size=(80, 24)).astype(np.float16) * np.linspace(3, 0.1, 24).astype(
    np.float16
)


def test_all_dimensions_of_the_picture_itself_are_the_features_untouched():
    matrix, meta = controls.apply(ARRAY, ROWS)
    assert matrix is ARRAY and meta["feature_dims"] == 24


def test_a_random_sample_follows_the_seed_and_is_stored():
    matrix, meta = controls.apply(ARRAY, ROWS, dims=7, seed=5)
    again, _ = controls.apply(ARRAY, ROWS, dims=7, seed=5)
    indices = json.loads(json.dumps(meta))["indices"]
    assert indices == sorted(set(indices)) and len(indices) == 7 and max(indices) < 24
    assert np.array_equal(matrix, ARRAY[:, indices]) and np.array_equal(matrix, again)
    assert any(controls.select_dims(24, 7, s).tolist() != indices for s in range(5))
    assert controls.select_dims(24, 24, 0).tolist() == list(range(24))
    drawn = np.bincount(np.concatenate([controls.select_dims(24, 12, s) for s in range(400)]), minlength=24)
    assert drawn.min() > 140 and drawn.max() < 260  # every dimension about as often: 200


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("source", controls.SOURCES)
def test_what_was_stored_reduces_other_pictures_alike(source, centre):
    matrix, meta = controls.apply(ARRAY, ROWS, source, 6, 3, CATEGORIES, centre)
    meta = json.loads(json.dumps(meta))
    projected = controls.project(ARRAY, meta)
    assert projected.shape == matrix.shape == (80, 6)
    if source == "shuffled":
        projected = projected[controls.shuffled_rows(80, ROWS, 3)]
    if source == "category":
        projected = controls.category_means(projected, ROWS["train"], CATEGORIES)
    assert np.array_equal(projected, matrix) and np.array_equal(
        controls.project(ARRAY[:4], meta).shape, (4, 6)
    )


def test_centred_features_lose_their_mean_over_training_photographs_and_nothing_else():
    matrix, meta = controls.apply(ARRAY, ROWS, centre=True)
    assert abs(matrix[ROWS["train"]].mean(0, dtype=float)).max() < 1e-3
    assert np.allclose(matrix + np.asarray(meta["mean"]), ARRAY, atol=0.01)  # in half precision
    held_out = np.concatenate([rows for split, rows in ROWS.items() if split != "train"])
    changed = ARRAY.copy()
    changed[held_out] += 1  # what is held out does not decide the mean
    assert controls.apply(changed, ROWS, centre=True)[1] == meta


def test_zero_keeps_the_width_and_nothing_else():
    for dims, width in ((0, 24), (6, 6)):
        matrix, _ = controls.apply(ARRAY, ROWS, "zero", dims)
        assert matrix.shape == (80, width) and not matrix.any()


@pytest.mark.parametrize("seed", range(20))
def test_shuffling_is_a_derangement_within_each_split(seed):
    taken = controls.shuffled_rows(80, ROWS, seed)
    for rows in ROWS.values():
        assert set(taken[rows]) == set(rows) and (taken[rows] != rows).all()
    matrix, _ = controls.apply(ARRAY, ROWS, "shuffled", seed=seed)
    assert np.array_equal(matrix, ARRAY[taken])
    assert np.array_equal(taken, controls.shuffled_rows(80, ROWS, seed))
    assert not np.array_equal(taken, controls.shuffled_rows(80, ROWS, seed + 1))


def test_two_pictures_swap_and_rows_of_no_split_stay():
    taken = controls.shuffled_rows(5, {"test": np.array([1, 3])}, 0)
    assert taken.tolist() == [0, 3, 2, 1, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dims=25), "feature_dims 25 must be between 1 and the features' width 24"),
        (dict(dims=-1), "feature_dims -1 must be between 1"),
        (
            dict(source="images"),
            "feature_source must be one of image, shuffled, zero, category, not 'images'",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, message):
    with pytest.raises(KoalaError, match=message):
        controls.apply(ARRAY, ROWS, **arguments)


def test_one_picture_cannot_be_shuffled():
    with pytest.raises(KoalaError, match="the validation split has one photograph"):
        controls.apply(ARRAY, {"train": np.arange(9), "validation": np.array([9])}, "shuffled")


def test_the_category_is_all_that_its_mean_features_tell():
    matrix, _ = controls.apply(ARRAY, ROWS, "category", categories=CATEGORIES)
    of_b = ROWS["train"][CATEGORIES[ROWS["train"]] == "b"]
    assert np.allclose(
        matrix[77], ARRAY[of_b].astype(float).mean(0), atol=2e-3
    )  # float16; 77 is "b" and in test
    assert len(np.unique(matrix, axis=0)) == 4
    changed = ARRAY.copy()
    changed[ROWS["test"]] += 50
    assert np.array_equal(controls.apply(changed, ROWS, "category", categories=CATEGORIES)[0], matrix)


def test_a_category_without_training_pictures_gets_the_mean_of_all():
    alone = CATEGORIES.copy()
    alone[[3, 72]] = "z"
    matrix = controls.category_means(ARRAY, np.setdiff1d(ROWS["train"], [3]), alone)
    assert np.allclose(matrix[72], ARRAY[np.setdiff1d(ROWS["train"], [3])].astype(float).mean(0), atol=2e-3)


def test_one_category_is_no_control():
    with pytest.raises(KoalaError, match="needs photographs of at least two categories"):
        controls.apply(ARRAY, ROWS, "category", categories=["all"] * 80)
