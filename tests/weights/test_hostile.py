"""Hostile and damaged files of PyTorch: no code runs, no crash, little memory, one sentence."""

import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from keras_densenet.weights import containers
from tests.weights import foreign
from tests.weights.foreign import FIXTURES

OVERHEAD = 16 * 2**20  # bytes that are Python's and zipfile's, whatever the size of the file
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuK\x04tQ"  # of four numbers
REBUILD = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("


def write_zip(path, pickled, **others):
    """Writes a zip file of PyTorch; `others` are further members, or other contents of them."""
    members = {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(16), "version": b"3\n"} | others
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


def write_legacy(path, pickled):
    pickled = pickled.replace(b"tQ", b"NtQ")  # a storage says here that it is no view of another
    path.write_bytes(MAGIC + pickled + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16))
    return path


def read(path):
    """Reads every tensor, and asserts that it takes no more memory than it may."""
    tracemalloc.start()
    try:
        with containers.opened(path) as tensors:
            for tensor in tensors.values():
                np.asarray(tensor[()])
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * path.stat().st_size + OVERHEAD


def refused(path, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        read(path)
    message = foreign.one_sentence(error, path)
    assert message.isprintable()
    assert len(message) < len(str(path)) + 400


def reduce(function, *args, protocol=2):
    class Hostile:
        def __reduce__(self):
            return function, args

    return pickle.dumps(Hostile(), protocol)


def object_array():
    return pickle.dumps(np.array([print, None], object), 2)


CALLS = {
    "system": (reduce(os.system, "touch ran"), "would call 'posix.system'"),
    "system4": (reduce(os.system, "touch ran", protocol=4), "would call 'posix.system'"),
    "mkdir": (reduce(os.mkdir, "ran"), "would call 'posix.mkdir'"),
    "eval": (reduce(eval, "open('ran', 'w')"), "would call '(__builtin__|builtins).eval'"),
    "getattr": (b"c__builtin__\ngetattr\n(cos\nsystem\nX\1\0\0\0atR.", "getattr"),
    "process": (reduce(subprocess.Popen, "touch ran", protocol=4), "would call 'subprocess.Popen'"),
    "nested": (b"ctorch.storage\n_load_from_bytes\n(C\x03abctR.", "would call 'torch.storage._load_from_bytes'"),
    "inst": (b"(X\x09\0\0\0touch ranios\nsystem\n.", "would call 'os.system'"),
    "obj": (b"(cos\nsystem\nX\x09\0\0\0touch rano.", "would call 'os.system'"),
    "by type": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNX\x09\0\0\0touch ran\x85NtR.",
        "would call 'os.system'",
    ),
    "object array": (object_array(), "holds a numpy array of objects"),
    "extension": (b"\x82\x01.", r"pickles what no file of tensors has \(EXT1\)"),
    "long name": (b"X" + struct.pack("<I", 9000) + b"a" * 9000 + b"\x94h\0\x93R.", "is not a complete file"),
    "no function": (b"K\x01(K\x02tR.", "would call something"),
}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("attack", CALLS)
def test_what_would_call_something_is_refused_by_name_and_not_run(attack, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled, sentence = CALLS[attack]
    refused(write(tmp_path / "bad.pth", pickled), sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_an_object_of_an_unknown_class_is_inert_and_gives_its_tensors(write, tmp_path):
    """It is made without a call, whatever its class would do with its state."""
    tensor = REBUILD[2:] + STORAGE + b"K\0(K\x04t(K\x01t\x89}tR"
    pickled = b"cos\nsystem\n)\x81}X\x05\0\0\0inner" + tensor + b"sb."
    with containers.opened(write(tmp_path / "a.pth", pickled)) as tensors:
        assert {name: value.shape for name, value in tensors.items()} == {"inner": (4,)}


def _tensor(offset=b"K\0", shape=b"K\x04\x85", strides=b"K\x01\x85", storage=STORAGE):
    return REBUILD + storage + offset + shape + strides + b"\x89}tR."


LARGE = {
    "memo": b"N" + b"r\xff\xff\xff\x7f.",
    "memo text": b"Np99999999999999\n.",
    "bytes": b"\x8e" + struct.pack("<Q", 2**60) + b".",
    "bytearray": b"\x96" + struct.pack("<Q", 2**60) + b".",
    "text": b"\x8d" + struct.pack("<Q", 2**60) + b".",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N",
    "integer": b"\x8b\xff\xff\xff\x7f.",
    "digits": b"L" + b"9" * 99999 + b"L\n.",
    "lists": b"]" * 2**20 + b".",
    "dicts in one": b"(" + b"}" * 2**20 + b"l.",
    "depth": b"]" * 40000 + b"a" * 39999 + b".",
    "doubled dicts": b"}q\0" + b"}q\1X\1\0\0\0ah\0sX\1\0\0\0bh\0s0h\1q\0" * 200 + b".",
    "in itself": b"]q\0h\0ah\0a.",
    "many arguments": b"(" + b"N" * 1000 + b"tq\0(" + b"ctorch\ndevice\nh\0R" * 3000 + b"l.",
    "doubled name": b"X\2\0\0\0ab" + b"q\0h\0\x93q\0h\0" * 200 + b".",
    "no end": b"N" * 100,
    "nothing on the stack": b"R.",
    "unknown": b"\xff.",
}
TENSORS = {
    "offset": _tensor(offset=b"K\1"),
    "negative offset": _tensor(offset=b"J\xff\xff\xff\xff"),
    "shape": _tensor(shape=b"K\5\x85"),
    "negative shape": _tensor(shape=b"J\xff\xff\xff\xff\x85"),
    "strides": _tensor(strides=b"K\2\x85"),
    "negative strides": _tensor(strides=b"J\xff\xff\xff\xff\x85"),
    "overflow": _tensor(shape=b"\x8a\x09\0\0\0\0\0\0\0\0\1\x85", strides=b"K\0\x85"),
    "expanded": _tensor(shape=b"J\0\0\0\x7f\x85", strides=b"K\0\x85"),
    "nothing of much": _tensor(shape=b"K\0J\0\0\0\x7fJ\0\0\0\x7f\x87", strides=b"K\0K\0K\0\x87"),
    "axes": _tensor(shape=b"(" + b"K\1" * 99 + b"t", strides=b"(" + b"K\1" * 99 + b"t"),
    "fewer strides": _tensor(strides=b")"),
    "text": _tensor(shape=b"X\2\0\0\0ab"),
    "storage": _tensor(storage=STORAGE.replace(b"K\x04", b"J\0\0\0\x7f")),
    "fraction": _tensor(storage=STORAGE.replace(b"K\x04", b"G" + struct.pack(">d", 4.0))),
    "kind": _tensor(storage=STORAGE.replace(b"Float", b"QInt8")),
    "no storage": _tensor(storage=STORAGE.replace(b"\x01\0\0\0\x30", b"\x01\0\0\0\x31")),
}


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("attack", [*LARGE, *TENSORS])
def test_what_claims_more_than_the_file_has_is_refused_before_memory_is_taken(attack, write, tmp_path):
    refused(
        write(tmp_path / "bad.pth", (LARGE | TENSORS)[attack]),
        "is not a complete file of weights|pickles more|nests more|pickles what|holds 'torch.QInt8Storage'",
    )


def test_a_key_without_an_end_is_not_looked_at(tmp_path):
    """Python's own hash of such tuples overflows the stack, or takes for ever."""
    for nested in (b"\x85" * 40000, b"2\x86" * 200):
        read(write_zip(tmp_path / "a.pth", b"})" + nested + b"Ns."))


def test_a_list_that_many_dicts_are_made_of_is_there_once(tmp_path):
    pairs = b"]q\0(" + b"".join(b"M" + struct.pack("<H", key) + b"N\x86" for key in range(5000)) + b"e"
    read(write_zip(tmp_path / "a.pth", pairs + b"0(" + b"ccollections\nOrderedDict\nh\0\x85R" * 5000 + b"l."))


def test_a_zip_bomb_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**24))
    refused(tmp_path / "bomb.pth", "is a zip bomb: its [0-9,]+ bytes would become 16,777,216")


def test_a_member_that_is_larger_than_it_says_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**27))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 2**27), struct.pack("<I", 100)))
    refused(path, "is not a complete file of weights")


def test_members_over_one_another_count_each(tmp_path):
    path = write_zip(tmp_path / "bad.pth", b"}.", **{"data/0": bytes(2**20), "data/1": bytes(2**20)})
    content = path.read_bytes().replace(b"data/1", b"data/0")
    path.write_bytes(content)
    refused(path, "has two files of one name")


def test_a_member_whose_own_name_is_damaged_is_told_when_it_is_read(tmp_path):
    """A zip archive names it twice, and reads its second name late, as text."""
    path = write_zip(tmp_path / "bad.pth", _tensor())
    content = path.read_bytes().replace(b"archive/data/0", b"archive/data\xaf0", 1)
    flags = content.index(b"archive/data\xaf0") - 24
    path.write_bytes(content[:flags] + b"\x00\x08" + content[flags + 2 :])
    refused(path, "is not a complete file of weights .*invalid start byte")


def test_compression_without_a_limit_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))
    refused(tmp_path / "a.pth", "is not a complete file of weights")


@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors", ".h5", ".keras"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            r"is a Git LFS pointer.*`git lfs pull`$",
        ),
        (b"\n<!DOCTYPE html><html>\n", "is a web page, not a file of weights: download the file itself$"),
        (b"<HTML>", "is a web page"),
        (b"", "is not a complete file of weights"),
        (b"\x80\x02}.", "is a pickle that torch.save did not write"),
        (zlib.compress(b"weights"), "begins like none of HDF5, zip, safetensors and torch.save"),
    ],
)
def test_what_is_no_file_of_weights_is_named_for_what_it_is(content, sentence, ending, tmp_path):
    (tmp_path / f"a{ending}").write_bytes(content)
    refused(tmp_path / f"a{ending}", sentence)


def test_a_torchscript_program_is_named():
    refused(FIXTURES / "program.pt", "is a TorchScript program, which is not run here")


def test_a_zip_archive_of_something_else_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("photos/1.jpg", b"")
    refused(tmp_path / "a.pth", "is not a complete file of weights .*'data.pkl'")


@pytest.mark.parametrize("name", ["values.pt", "values.bin", "module.pth", "module.th", "tiny_torchvision.pth"])
def test_a_hundred_mutations_of_each_file_are_refused_in_a_sentence_or_read(name, tmp_path):
    """A flipped bit of a number before 1.6, or of a date in a zip archive, cannot be told."""
    good, random_ = (FIXTURES / name).read_bytes(), random.Random(name)
    path, count = tmp_path / name, 0
    for mutate in (flip, cut, exchange, overwrite) * 25:
        path.write_bytes(mutate(good, random_))
        try:
            read(path)
        except ValueError as error:
            message, count = str(error), count + 1
            assert str(path) in message
            assert message.isprintable()
    assert count > 50


def flip(content, random_):
    content = bytearray(content)
    for _ in range(random_.randint(1, 20)):
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    return bytes(content)


def cut(content, random_):
    start, end = sorted(random_.choices(range(len(content)), k=2))
    return content[:end] if random_.random() < 0.5 else content[:start] + content[end:]


def exchange(content, random_):
    """Exchanges opcodes in what is pickled; the checksums of a zip archive stay right."""
    if not content.startswith(b"PK"):
        return _exchanged(content, random_)
    path = io.BytesIO(content)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, _exchanged(data, random_) if name.endswith("data.pkl") else data)
    return made.getvalue()


def _exchanged(content, random_):
    content = bytearray(content)
    places = [place for place, byte in enumerate(content[:4000]) if chr(byte) in pickletools.code2op]
    for place in random_.sample(places, random_.randint(1, 5)):
        content[place] = ord(random_.choice(list(pickletools.code2op)))
    return bytes(content)


def overwrite(content, random_):
    place = random_.randrange(len(content))
    return content[:place] + random_.randbytes(random_.randint(1, 64)) + content[place + 16 :]
