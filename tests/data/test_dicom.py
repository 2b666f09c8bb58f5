"""DICOM: what a viewer would show, and one frame only."""

import numpy as np
import pytest
from PIL import Image

from keras_densenet import data
from keras_densenet.data import read_images

pydicom = pytest.importorskip("pydicom", reason="DICOM needs keras-densenet[medical]")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid  # noqa: E402

STORED = np.arange(20 * 24).reshape(20, 24) * 8  # 12 bits


def write(path, stored=STORED, bits=12, signed=False, photometric="MONOCHROME2", frames=None, **elements):
    """A DICOM file of stored values, with further elements by their keywords."""
    header, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header.file_meta, allocated = meta, 8 if bits <= 8 else 16
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.Rows, header.Columns = stored.shape[-2:] if photometric != "RGB" else stored.shape[:2]
    header.SamplesPerPixel = 3 if photometric == "RGB" else 1
    if photometric == "RGB":
        header.PlanarConfiguration = 0
    if frames:
        header.NumberOfFrames = frames
    header.BitsAllocated, header.BitsStored, header.HighBit = allocated, bits, bits - 1
    header.PixelRepresentation, header.PhotometricInterpretation = int(signed), photometric
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    header.PixelData = stored.astype(f"{'i' if signed else 'u'}{allocated // 8}").tobytes()
    header.save_as(path, enforce_file_format=True)
    return path


def _pixels(path, channels=1):
    return read_images([path], (None, None, channels))[0]


def test_a_window_makes_0_to_255_of_what_lies_in_it(tmp_path):
    path = write(tmp_path / "a.dcm", WindowCenter=[2000, 40], WindowWidth=[1000, 400])
    expected = np.clip(((STORED - 1999.5) / 999 + 0.5) * 255, 0, 255)  # the standard's formula, C.11.2.1.2.1
    np.testing.assert_allclose(_pixels(path)[..., 0], expected, atol=1e-3)
    np.testing.assert_array_equal(_pixels(path, 3), np.repeat(_pixels(path), 3, -1))
    np.testing.assert_array_equal(_pixels(path.read_bytes()), _pixels(path))


def test_the_window_is_of_rescaled_values(tmp_path):
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    path = write(tmp_path / "a.dcm", WindowCenter=40, WindowWidth=400, **rescale)
    expected = np.clip(((STORED * 2 - 1024 - 39.5) / 399 + 0.5) * 255, 0, 255)
    np.testing.assert_allclose(_pixels(path)[..., 0], expected, atol=1e-3)
    write(path, WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID", **rescale)
    expected = 255 / (1 + np.exp(-4 * (STORED * 2 - 1024 - 40) / 400))
    np.testing.assert_allclose(_pixels(path)[..., 0], expected, atol=1e-3)


def test_without_a_window_values_have_their_units(tmp_path):
    path = write(tmp_path / "a.dcm", STORED - 2000, signed=True, RescaleSlope=1.5, RescaleIntercept=-24)
    np.testing.assert_allclose(_pixels(path)[..., 0], (STORED - 2000) * 1.5 - 24, rtol=1e-6)


@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 1, "RescaleIntercept": 0}])
@pytest.mark.parametrize("signed", [False, True])
def test_without_units_either_the_stored_bits_are_0_to_255(tmp_path, signed, rescale):
    low, high = (-2048, 2047) if signed else (0, 4095)
    stored = np.linspace(low, high, 480).round().astype(int).reshape(20, 24)
    path = write(tmp_path / "a.dcm", stored, signed=signed, **rescale)
    np.testing.assert_allclose(_pixels(path)[..., 0], (stored - low) * 255 / 4095, atol=1e-4)


@pytest.mark.parametrize(
    "elements", [{}, {"WindowCenter": 2000, "WindowWidth": 1000}, {"RescaleSlope": 3, "RescaleIntercept": -9}]
)
def test_monochrome1_is_inverted(tmp_path, elements):
    plain, inverted = (
        _pixels(write(tmp_path / f"{kind}.dcm", photometric=kind, **elements))
        for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    total = plain + inverted
    assert np.ptp(total) < 1e-3
    assert total.max() == pytest.approx(4095 * 3 - 18 if "RescaleSlope" in elements else 255, rel=1e-5)


def test_a_lookup_table_comes_before_the_window(tmp_path):
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 10])
    table.add_new("LUTData", "US", (1023 - np.arange(4096) // 4).tolist())
    path = write(tmp_path / "a.dcm", VOILUTSequence=[table], WindowCenter=1, WindowWidth=2)
    np.testing.assert_allclose(_pixels(path)[..., 0], (1023 - STORED // 4) * 255 / 1023, atol=1e-3)


def test_colours_stay_what_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype("uint8")
    path = write(tmp_path / "a.dcm", pixels, bits=8, photometric="RGB")
    np.testing.assert_array_equal(_pixels(path, 3), pixels)


def test_several_frames_are_refused(tmp_path):
    path = write(tmp_path / "a.dcm", np.stack([STORED, STORED]), frames=2)
    with pytest.raises(ValueError, match=r"a\.dcm' cannot be decoded as an image: it is of several frames"):
        _pixels(path)


def test_a_folder_of_dicom_is_a_data_set_and_bad_files_are_named(tmp_path):
    for number in range(12):
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write(
            folder / f"{number}{'.dcm' if number % 3 else ''}", STORED // (number + 1), WindowCenter=99, WindowWidth=99
        )
    root = tmp_path / "scans"
    splits = data.load(root)
    assert splits.train.images.shape[1:] == (20, 24, 1)
    assert any(note.startswith("12 DICOM, seen through its window: a/0, ") for note in splits.notes)
    files = data.files_of([root])
    found = {image.tobytes() for part in splits[:3] for image in part.images}
    assert found == {image.tobytes() for image in read_images(files, splits.framing)}
    write(root / "a" / "moving.dcm", np.stack([STORED, STORED]), frames=2)
    (root / "a" / "short.dcm").write_bytes((root / "a" / "2.dcm").read_bytes()[:-100])
    (root / "b" / "none.dcm").write_bytes(b"no DICOM")
    foreign = pydicom.dcmread(root / "a" / "2.dcm")
    foreign.file_meta.TransferSyntaxUID = JPEGLSLossless
    foreign.PixelData = encapsulate([b"packed"])
    foreign.save_as(root / "b" / "packed.dcm")
    with pytest.raises(ValueError, match="has bad data") as error:
        data.load(root)
    assert "1 of several frames: a/moving.dcm" in str(error.value)
    assert "1 truncated or damaged: a/short.dcm" in str(error.value)
    assert "1 DICOM of a compression for which pydicom needs another package, such as pylibjpeg: b/packed.dcm" in str(
        error.value
    )
    assert "1 not an image that Pillow reads: b/none.dcm" in str(error.value)
    assert len(data.load(root, skip_bad=True, validation=0).test.labels) == 2


def test_dicom_without_pydicom_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"DICOM files need pydicom: pip install 'keras-densenet\[medical\]'"):
        _pixels(path)


def test_dicom_and_png_of_the_same_picture_are_the_same_pixels(tmp_path):
    levels = (STORED // 16).astype("uint8")
    write(tmp_path / "a.dcm", levels, bits=8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_allclose(_pixels(tmp_path / "a.dcm"), _pixels(tmp_path / "a.png"), atol=1e-4)
