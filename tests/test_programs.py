"""What XLA compiled is found again by the next process, and by no other kind of machine."""

import os
import subprocess
import sys

import numpy as np
import pytest

import keras_densenet as kd
from keras_densenet import programs

STEP = """
import keras_densenet as kd, keras, numpy as np, sys, tensorflow as tf
for size in map(int, sys.argv[1:]):
    tf.function(lambda x: x + 1)(tf.ones(size))  # functions have numbers, which are then others
keras.utils.set_random_seed(0)
model = kd.DenseNet(blocks=(1,), growth_rate=2, stem="cifar", input_shape=(4, 4, 3), classes=2)
model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
print(model.train_on_batch(np.ones((2, 4, 4, 3), "float32"), np.array([0, 1])))
"""


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    return monkeypatch


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path, environment):
    environment.setenv("KERAS_DENSENET_CACHE", str(tmp_path))
    environment.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    environment.setenv("TF_CPP_VMODULE", "buffer_assignment=1")
    commands = [sys.executable, "-c", STEP], [sys.executable, "-c", STEP, "3", "4"]
    first, second = (subprocess.run(one, capture_output=True, text=True, timeout=140) for one in commands)
    assert first.returncode == second.returncode == 0, second.stderr
    assert "Assigning buffers" in first.stderr
    assert "Assigning buffers" not in second.stderr
    assert first.stdout == second.stdout
    assert len(list(tmp_path.glob("programs/*/*.pb"))) == 1


def test_each_kind_of_machine_has_a_folder_of_its_own(tmp_path, environment):
    one = programs.keep_programs(tmp_path)
    assert os.environ["TF_XLA_FLAGS"] == f"--tf_xla_persistent_cache_directory={one}"
    assert programs.keep_programs(tmp_path) is None  # that is decided
    environment.delenv("TF_XLA_FLAGS")
    assert programs.keep_programs(tmp_path) == one
    environment.delenv("TF_XLA_FLAGS")
    information = tmp_path / "cpuinfo"
    information.write_text("flags: avx2\nMHz: 2000.1\n")
    environment.setattr(programs, "_MACHINE", (str(information),))
    other = programs.keep_programs(tmp_path)
    information.write_text("flags: avx2\nMHz: 3000.2\n")
    environment.setenv("TF_XLA_FLAGS", "--others=1")
    assert programs.keep_programs(tmp_path) == other != one
    assert os.environ["TF_XLA_FLAGS"] == f"--others=1 --tf_xla_persistent_cache_directory={other}"
    environment.delenv("TF_XLA_FLAGS")
    information.write_text("flags: avx512f\nMHz: 2000.1\n")
    assert programs.keep_programs(tmp_path) not in (one, other)


def test_nothing_is_kept_where_that_is_not_wanted_or_not_possible(tmp_path, environment):
    environment.setenv("KERAS_DENSENET_CACHE", "")
    (tmp_path / "file").touch()
    assert programs.keep_programs() is None
    assert programs.keep_programs(tmp_path / "file") is None
    environment.setattr(programs, "LIMIT", 2**80)  # bytes that no disk has free
    assert programs.keep_programs(tmp_path / "folder") is None
    assert "TF_XLA_FLAGS" not in os.environ


def test_what_was_used_longest_ago_goes_first(tmp_path, environment):
    for age, size in enumerate([400, 0, 500, 300]):
        file = tmp_path / "programs" / "other" / f"{age}.pb"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
        os.utime(file, (1e9 - age, 1e9 - age))
    environment.setattr(programs, "LIMIT", 1000)
    programs.keep_programs(tmp_path)
    assert {file.name for file in tmp_path.glob("programs/other/*")} == {"0.pb", "2.pb"}


def test_a_step_that_is_traced_counts_no_more(monkeypatch):
    counted = []
    monkeypatch.setattr("keras_densenet.models.model.number_from_afresh", lambda: counted.append(1))
    model = kd.DenseNet(blocks=(1,), growth_rate=2, stem="cifar", input_shape=(4, 4, 3), classes=2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    for _ in range(3):
        model.train_on_batch(np.ones((2, 4, 4, 3), "float32"), np.array([0, 1]))
    assert len(counted) == 1
