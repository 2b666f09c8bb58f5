import numpy as np
import pytest
from PIL import Image

from keras_densenet import data
from keras_densenet.data import check
from tests.data.pictures import picture, write_classes


@pytest.fixture
def bad(tmp_path):
    """A folder with everything that can be wrong, and what can be put right, in class b of training."""
    root = tmp_path / "photos"
    write_classes(root / "train", {"a": 9, "b": 3, "empty": 0, "single": 1})
    write_classes(root / "test", {"a": 2, "single": 1})
    folder = root / "train" / "b"
    for name in ("1.png", "2.png", "3.png", "4.png", ".hidden", "._whole.jpg", "notes.txt", "Thumbs.db"):
        (folder / name).write_text("no image")
    (folder / "link.png").symlink_to(tmp_path / "nowhere")
    image = Image.fromarray(picture(7))
    image.save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) - 40])
    image.save(folder / "animated.gif", save_all=True, append_images=[Image.fromarray(picture(8))])
    Image.fromarray(picture(7).astype("int32")[..., 0]).save(folder / "deep.tiff")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray((picture(7)[..., 0].astype("uint16") << 8) + 5).save(folder / "sixteen.png")
    exif = Image.Exif()
    exif[check.ORIENTATION] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif)
    return root


def test_bad_data_is_an_error_that_names_all_of_it(bad, tmp_path):
    with pytest.raises(ValueError, match="has bad data") as error:
        data.load(bad)
    found = {line.strip() for line in str(error.value).splitlines()}
    assert {
        "1 a link that leads nowhere: train/b/link.png",
        "1 truncated or damaged: train/b/truncated.jpg",
        "1 animated: train/b/animated.gif",
        "1 with 32-bit pixels, whose range is not known: train/b/deep.tiff",
        "1 classes without images in train: empty",
        "2 classes without images in test: b, empty",
        "1 classes with one training image: single",
    } < found
    assert "--skip-bad" in str(error.value)
    assert not any(name in str(error.value) for name in ("hidden", "._whole", "notes.txt", "Thumbs"))
    (line,) = (line for line in found if line.startswith("4 not an image that Pillow reads: train/b/1.png, "))
    (listed,) = (tmp_path / "cache" / "keras_densenet").glob("found-*.txt")
    assert line.endswith(f"train/b/2.png, train/b/3.png and 1 more (all in {listed})")
    assert "not an image that Pillow reads\ttrain/b/4.png\n" in listed.read_text()


def test_skip_bad_goes_on_without_it_and_tells_what_was_put_right(bad):
    splits = data.load(bad, skip_bad=True, validation=0)
    assert splits.labels == ["a", "b", "single"]
    assert np.bincount(splits.train.labels).tolist() == [9, 7, 1]
    assert np.bincount(splits.test.labels).tolist() == [2, 0, 1]
    assert "1 CMYK, turned into RGB: train/b/cmyk.jpg" in splits.notes
    assert "1 16-bit, read as 0..255 with fractions: train/b/sixteen.png" in splits.notes
    assert "1 EXIF-rotated, turned upright: train/b/turned.jpg" in splits.notes
    assert "2 passed over, for they are no images: train/b/Thumbs.db, train/b/notes.txt" in splits.notes
    assert any(note.startswith("bad data skipped: 1 animated") for note in splits.notes)


def test_cmyk_rotated_and_16_bit_images_come_out_like_the_plain_one(bad):
    splits = data.load(bad, skip_bad=True, validation=0)
    assert splits.train.images.shape[1:] == (20, 24, 3)
    images = dict(zip(["cmyk", "sixteen", "turned", "whole"], splits.train.images[-5:-1], strict=True))
    for name in ("cmyk", "turned", "whole"):
        assert np.abs(images[name] - picture(7)).mean() < 4, name
    sixteen = (picture(7)[..., :1] * 256.0 + 5) / 257
    np.testing.assert_allclose(images["sixteen"], np.repeat(sixteen, 3, -1), rtol=1e-6)


def test_a_file_is_read_again_only_if_it_changed(tmp_path, monkeypatch):
    root = write_classes(tmp_path / "photos", {"a": 4, "b": 4})
    data.load(root)
    looked, look_at = [], check.look_at
    monkeypatch.setattr(check, "look_at", lambda file: looked.append(file.name) or look_at(file))
    data.load(root)
    assert not looked
    (root / "a" / "001.png").write_text("no image now")
    with pytest.raises(ValueError, match=r"1 not an image that Pillow reads: a/001\.png"):
        data.load(root)
    assert looked == ["001.png"]


def test_without_folders_for_it_the_split_is_seeded_and_every_class_has_its_share(tmp_path):
    root = write_classes(tmp_path / "photos", {"a": 50, "b": 25})
    first, again, other = data.load(root), data.load(root), data.load(root, seed=1)
    assert [np.bincount(split.labels).tolist() for split in first[:3]] == [[36, 18], [4, 2], [10, 5]]
    np.testing.assert_array_equal(first.test.images, again.test.images)
    assert not np.array_equal(first.test.images, other.test.images)
    seen = np.concatenate([split.images for split in first[:3]])
    assert len({image.tobytes() for image in seen}) == 75


def test_validation_images_are_for_the_test_if_there_are_no_others(tmp_path):
    root = tmp_path / "photos"
    write_classes(root / "train", {"a": 20, "b": 20})
    write_classes(root / "val", {"a": 3, "b": 3})
    assert [len(split.labels) for split in data.load(root)[:3]] == [36, 4, 6]
    write_classes(root / "test", {"a": 2, "b": 2})
    assert [len(split.labels) for split in data.load(root)[:3]] == [40, 6, 4]


def test_photos_of_many_sizes_get_one_and_stay_on_disk(tmp_path):
    root = tmp_path / "photos"
    write_classes(root, {"a": 5}, ".jpg")
    write_classes(root / "more", {"b": 5}, ".jpg", height=300, width=200)
    (root / "more" / "b").rename(root / "b")
    (root / "more").rmdir()
    splits = data.load(root)
    assert splits.train.images.shape[1:] == (224, 224, 3)
    assert isinstance(splits.train.images, data.Pictures)
    assert splits.train.images[:2].shape == (2, 224, 224, 3)
    assert data.load(root, image_size=(12, 16), channels=1).test.images[:1].shape == (1, 12, 16, 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: root.mkdir(), "has no subfolders: put the images of each class"),
        (lambda root: write_classes(root, {"a": 5}), "must have images of two or more classes. Received: 1"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, make, sentence):
    make(tmp_path / "photos")
    with pytest.raises(ValueError, match=sentence):
        data.load(tmp_path / "photos")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*none"):
        data.load(tmp_path / "none")


@pytest.mark.parametrize("wrong", [{"image_size": 0}, {"channels": 2}, {"validation": 1.0}])
def test_options_that_cannot_be_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be .* Received: "):
        data.load(write_classes(tmp_path / "photos", {"a": 5, "b": 5}), **wrong)


def test_a_damaged_cache_of_the_check_is_made_anew(tmp_path):
    root = write_classes(tmp_path / "photos", {"a": 4, "b": 4})
    data.load(root)
    (cache,) = (tmp_path / "cache" / "keras_densenet").iterdir()
    cache.write_text("{half")
    assert len(data.load(root).labels) == 2
