"""A data set of many labels from real pixels: two or three of scikit-learn's digits in a picture, each a label."""

import csv

import keras
import numpy as np
from sklearn.datasets import load_digits

from keras_densenet.data import Split, Splits

SIDE = 8  # of a digit, whose picture has room for two by two
UNKNOWN = 0.15  # of the labels
GROUP = 10  # pictures
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def pictures(count, part=(0.0, 1.0), seed=0, rare=None):
    """Pictures of a part of the digits.

    Args:
        count: of the pictures, of which each ten are a group.
        part: where the part of all digits begins and ends, in [0, 1]; pictures of two parts have no digit in common.
        seed: of everything that is drawn.
        rare: share of the pictures that has each of the digits 0 to 4, which then are all labels. Default: all digits
            are as frequent as each other, and labels.

    Returns:
        Images, float32 `(count, 16, 16, 1)` in 0..255; labels, int8 `(count, 10)` or `(count, 5)`; groups, int
        `(count,)`.
    """
    digits, random = load_digits(), np.random.default_rng(seed)
    low, high = (round(end * len(digits.target)) for end in part)
    of_digit = [low + np.flatnonzero(digits.target[low:high] == digit) for digit in range(10)]
    chances = np.full(10, 0.1) if rare is None else np.repeat([rare / 2.5, 0.2 - rare / 2.5], 5)
    images, labels = np.zeros((count, 2, 2, SIDE, SIDE), "float32"), np.zeros((count, 10), "int8")
    for image, there in zip(images, labels, strict=True):
        cells = random.permutation(4)[: random.integers(2, 4)]
        for cell, digit in zip(cells, random.choice(10, len(cells), p=chances), strict=True):
            image[divmod(cell, 2)] = digits.images[random.choice(of_digit[digit])] * (255 / 16)
            there[digit] = 1
    labels[random.random(labels.shape) < UNKNOWN] = -1
    images = images.transpose(0, 1, 3, 2, 4).reshape(count, 2 * SIDE, 2 * SIDE, 1)
    return images, labels if rare is None else labels[:, :5], np.arange(count) // GROUP


def splits(train, validation, test, seed=0, rare=None):
    """`Splits` of so many pictures each, in which no digit is in two."""
    parts = zip((train, validation, test), ((0, 0.7), (0.7, 0.8), (0.8, 1)), range(3 * seed, 3 * seed + 3), strict=True)
    made = [Split(*pictures(count, part, own, rare)[:2]) for count, part, own in parts]
    return Splits(*made, labels=NAMES[: made[0].labels.shape[1]])


def write_table(folder, images, labels, groups):
    """Writes pictures as PNG files and `table.csv`: path, group and a column for each label, empty where it is unknown.

    Returns:
        The table's path.
    """
    (folder / "pictures").mkdir(parents=True)
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "group", *NAMES[: labels.shape[1]]])
        for number, (image, there, group) in enumerate(zip(images, labels, groups, strict=True)):
            keras.utils.save_img(folder / "pictures" / f"{number}.png", image, scale=False)
            marks = ["" if label < 0 else int(label) for label in there]
            writer.writerow([f"pictures/{number}.png", f"group {group}", *marks])
    return folder / "table.csv"
