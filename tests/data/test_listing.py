"""Which files are images is the same wherever a folder is given."""

import numpy as np
import pytest
from PIL import Image

from keras_densenet import data
from tests.data.pictures import picture


@pytest.fixture
def folder(tmp_path):
    """A class' folder as it lies around: images of many kinds, and what other programs leave beside them."""
    root = tmp_path / "photos" / "a"
    (root / "more").mkdir(parents=True)
    image = Image.fromarray(picture())
    for name in ("1.jpg", "2.PNG", "3.avif", "4.webp", "5.tif", "6.jp2", "more/7.bmp"):
        image.save(root / name)
    image.save(root / "without-ending", "PNG")
    image.save(root / "8.jpg_large", "JPEG")
    for name in ("notes.txt", "Thumbs.db", "desktop.ini", "labels.csv", "empty"):
        (root / name).write_text("" if name == "empty" else "no image")
    for name in (".DS_Store", "._1.jpg", ".thumbnails/1.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("hidden")
    return root


IMAGES = ["1.jpg", "2.PNG", "3.avif", "4.webp", "5.tif", "6.jp2", "8.jpg_large", "more/7.bmp", "without-ending"]


def test_images_are_told_by_their_ending_or_their_first_bytes(folder):
    images, others = data.list_images(folder)
    assert [path.relative_to(folder).as_posix() for path in images] == IMAGES
    assert [path.name for path in others] == ["Thumbs.db", "desktop.ini", "empty", "labels.csv", "notes.txt"]


def test_a_training_and_a_prediction_take_the_same_files(folder):
    Image.fromarray(picture(1)).save(folder.parent / "b.png")
    (folder.parent / "b").mkdir()
    for number in range(len(IMAGES)):
        (folder.parent / "b.png").with_name("b").joinpath(f"{number}.png").write_bytes(
            (folder.parent / "b.png").read_bytes()
        )
    splits = data.load(folder.parent, validation=0)
    trained = sum(np.count_nonzero(split.labels == 0) for split in (splits.train, splits.test))
    assert trained == len(data.files_of([folder])) == len(IMAGES)


def test_an_animation_is_refused_wherever_it_is_read(folder):
    image, other = (Image.fromarray(picture(seed)) for seed in range(2))
    image.save(folder / "moving.gif", save_all=True, append_images=[other])
    with pytest.raises(ValueError, match=r"moving\.gif' cannot be decoded as an image: it is animated"):
        data.read_images(data.files_of([folder / "moving.gif"]), (8, 8, 3))
    with pytest.raises(ValueError, match=r"1 animated: a/moving\.gif"):
        data.load(folder.parent)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="There are no images in the folder"):
        data.files_of([tmp_path])
