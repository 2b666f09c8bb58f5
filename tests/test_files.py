import os

import pytest

from keras_densenet.files import written_beside


def test_a_file_appears_whole_and_alone(tmp_path):
    with written_beside(tmp_path / "new" / "a.txt") as beside:
        beside.write_text("all of it")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "all of it"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with written_beside(tmp_path / "a.txt") as beside:
            beside.write_text("half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_the_mode_is_what_open_and_mkdir_give(tmp_path, umask):
    def mode(path):
        return path.stat().st_mode & 0o777

    before = os.umask(umask)
    try:
        with written_beside(tmp_path / "a.txt") as beside:
            beside.touch(0o600)
        with written_beside(tmp_path / "folder") as beside:
            (beside / "deep").mkdir(0o700, parents=True)
            (beside / "deep" / "b.txt").touch(0o600)
    finally:
        os.umask(before)
    assert {mode(tmp_path / "a.txt"), mode(tmp_path / "folder" / "deep" / "b.txt")} == {0o666 & ~umask}
    assert {mode(tmp_path / "folder"), mode(tmp_path / "folder" / "deep")} == {0o777 & ~umask}


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    (tmp_path / "a.txt").touch(0o600)
    with written_beside(tmp_path / "a.txt") as beside:
        beside.write_text("new")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o600
