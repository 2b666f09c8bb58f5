import contextlib
import dataclasses
import json
import shutil
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_densenet as kd
from keras_densenet.data import Split, Splits
from keras_densenet.training import Recipe, Task, load_model, loop, train
from keras_densenet.training.build import build
from keras_densenet.training.folder import RunFolder
from keras_densenet.training.loop import Loop
from tests.training.processes import NETWORK, RECIPE, history
from tests.weights.test_published import TINY, XRAYS, publish


@pytest.mark.slow
def test_a_run_learns_and_leaves_its_files(finished):
    folder, state = finished
    names = ["best.keras", "checkpoint.keras", "curves.png", "history.csv", "model.keras", "run.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert state == json.loads((folder / "run.json").read_text())
    assert state["arguments"]["recipe"] == json.loads(json.dumps(dataclasses.asdict(RECIPE)))
    assert state["devices"] == {"replicas": 1, "xla": False}
    assert state["versions"]["keras"] == keras.__version__
    rows = history(folder)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    with Image.open(folder / "curves.png") as picture:
        assert picture.size[0] > 500


def test_the_model_takes_raw_pixels_and_knows_its_labels(finished, stripes):
    model, labels = load_model(finished[0])
    assert labels == model.labels == keras.models.load_model(finished[0] / "best.keras").labels == ["along", "across"]
    logits = model.predict_on_batch(stripes.train.images)
    assert logits.shape == (64, 2)
    np.testing.assert_allclose(logits.sum(-1), 1, rtol=1e-5)


def _loop(ema):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(Recipe(ema=ema).optimizer())
    model.optimizer.build(model.trainable_variables)
    return model.layers[0].kernel, Loop(model, tf.distribute.get_strategy(), False, Task.of_labels("a", Recipe()))


def test_the_model_has_its_own_weights_again_after_a_look_at_the_average_whatever_happens():
    kernel, its = _loop(ema=0.5)
    kernel.assign([[3], [5]])
    with contextlib.suppress(OSError), its.averaged_weights():
        assert kernel.numpy().ravel().tolist() == [0, 0]  # no step has been taken
        raise OSError
    assert kernel.numpy().ravel().tolist() == [3, 5]


def test_without_an_average_no_weight_is_copied(monkeypatch):
    _, its = _loop(ema=0)
    monkeypatch.setattr(keras.Variable, "numpy", lambda variable: pytest.fail(f"{variable.path} is copied"))
    monkeypatch.setattr(keras.Variable, "assign", lambda variable, value: pytest.fail(f"{variable.path} is written"))
    with its.averaged_weights():
        pass


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run(stripes, tmp_path):
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=1e30, xla=False)
    with pytest.raises(RuntimeError, match=r"became (nan|inf) in batch \d of 4 of epoch \d: try a lower learning rate"):
        train(NETWORK, "stripes", stripes, recipe, tmp_path)
    assert not (tmp_path / "model.keras").exists()


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_written(stripes, tmp_path):
    with pytest.raises(ValueError, match=r"at most the 64 training images. Received: batch_size=65"):
        train(NETWORK, "stripes", stripes, Recipe(batch_size=65), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_or_broken_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is a folder without a run. Give a run's folder or a .keras file"):
        load_model(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has not finished"):
        load_model(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"model\.keras' is not a complete .keras file"):
        load_model(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named_before_training(stripes, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        train(NETWORK, "stripes", stripes, RECIPE, tmp_path / "file")


def test_a_disk_that_is_too_small_is_named_before_training(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 20, 1 << 20, 1 << 10))
    with pytest.raises(OSError, match=r"needs \d MB. Its disk has 0 MB left: make room"):
        train(NETWORK, "stripes", stripes, RECIPE, tmp_path)


@pytest.mark.slow
def test_a_sigterm_after_the_last_step_ends_the_run_too(stripes, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    during_validation = keras.callbacks.LambdaCallback()
    during_validation.on_test_begin = lambda logs=None: signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        train(NETWORK, "stripes", stripes, recipe, tmp_path, callbacks=[during_validation])
    assert end.value.code == 143
    assert not (tmp_path / "model.keras").exists()
    assert train(NETWORK, "stripes", stripes, recipe, tmp_path)["test"]
    assert [row["epoch"] for row in history(tmp_path)] == ["1"]


def test_what_a_killed_process_was_writing_is_swept_away(stripes, finished, tmp_path):
    rest = tmp_path / ".model.keras-x1y2z3__"
    rest.mkdir()
    (rest / "model.keras").write_bytes(b"half")
    RunFolder(tmp_path).close()
    assert not rest.exists()


class State(keras.callbacks.Callback):
    """Keeps weights and optimizer as the second epoch finds them, and tells when one of its steps is taken."""

    def __init__(self):
        super().__init__()
        self.kept, self.gone_on = None, threading.Event()

    def on_epoch_begin(self, epoch, logs=None):
        self.kept = [v.numpy() for v in (*self.model.variables, *self.model.optimizer.variables)] if epoch else None

    def on_train_batch_end(self, batch, logs=None):
        if self.kept:
            self.gone_on.set()


@pytest.mark.slow
def test_a_checkpoint_is_what_the_epoch_ended_with_though_it_is_written_while_training_goes_on(
    stripes, tmp_path, monkeypatch
):
    watch, write = State(), RunFolder._write_checkpoint

    def late(folder, model, state):
        if state["epoch"] == 1:
            assert watch.gone_on.wait(60)
        write(folder, model, state)
        shutil.copy(tmp_path / "checkpoint.keras", tmp_path / f"kept{state['epoch']}.keras")

    monkeypatch.setattr(RunFolder, "_write_checkpoint", late)
    train(NETWORK, "stripes", stripes, dataclasses.replace(RECIPE, epochs=2), tmp_path, [watch])
    model = keras.models.load_model(tmp_path / "kept1.keras")
    for variable, value in zip((*model.variables, *model.optimizer.variables), watch.kept, strict=True):
        if "seed_generator" not in variable.path:  # an epoch's masks begin with it
            np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_ends_the_run_and_leaves_the_former(stripes, tmp_path, monkeypatch):
    write = RunFolder._write_checkpoint

    def full(folder, model, state):
        if state["epoch"]:
            raise OSError("no space left")
        write(folder, model, state)

    monkeypatch.setattr(RunFolder, "_write_checkpoint", full)
    with pytest.raises(OSError, match="no space left"):
        train(NETWORK, "stripes", stripes, dataclasses.replace(RECIPE, epochs=2), tmp_path)
    assert RunFolder(tmp_path, writes=False).read_progress().epoch == 0
    assert not (tmp_path / "model.keras").exists()


def test_sums_are_fetched_together_after_ten_steps_or_half_a_second(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    for alone, expected in ((True, [1, 10, 3]), (False, [1, 10, 10])):
        window, found = loop.Window(alone), []
        for step in range(21):
            now[0] += 0.3 if step in (12, 13) else 0.01
            window.sums.append(tf.fill((4,), float(step)))
            if window.is_full():
                found.append(len(window.fetch()))
        assert found == expected


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_named_by_its_batch_wherever_in_the_window_it_is(stripes, tmp_path, monkeypatch):
    recipe, told = dataclasses.replace(RECIPE, learning_rate=1e30, warmup_epochs=0, batch_size=8), []
    for steps in (1, 10):
        monkeypatch.setattr(loop, "STEPS", steps)
        with pytest.raises(RuntimeError, match=r"batch [2-7] of 8 of epoch 1") as error:
            train(NETWORK, "stripes", stripes, recipe, tmp_path / str(steps))
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.slow
def test_the_average_of_the_weights_is_the_result(stripes, tmp_path):
    recipe = Recipe(epochs=1, batch_size=16, ema=0.5, xla=False)
    moments = []

    class Kept(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            moments.append([variable.numpy() for variable in self.model.trainable_variables])

    train(NETWORK, "stripes", stripes, recipe, tmp_path, [Kept()])
    for index, variable in enumerate(load_model(tmp_path)[0].trainable_variables):
        average = moments[0][index]
        for later in moments[1:]:
            average = (average + later[index]) / 2
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_parts_of_an_update_gather_its_gradient(stripes):
    """With frozen statistics, two updates of two halves equal two whole ones; the rate falls between them."""
    images, labels = stripes.train.images[:32], stripes.train.labels[:32]
    settings = {"epochs": 2, "batch_size": 16, "schedule": "steps", "drops": (0.5,), "xla": False}
    found = []
    for accumulate in (1, 2):
        recipe = Recipe(accumulate=accumulate, **settings)
        task = Task.of_data(stripes, recipe)
        model = build({**NETWORK}, stripes, recipe, 1, task)
        for layer in model.layers[:-1]:
            layer.trainable = False
        model.compile(recipe.optimizer(1), "categorical_crossentropy")
        parts = Loop(model, tf.distribute.get_strategy(), False, task)
        for start in range(0, 32, 16 // accumulate):
            parts.train(*(tf.constant(x[start : start + 16 // accumulate]) for x in (images, labels)))
        found.append(model.layers[-1].get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"mixed_precision": "mixed_bfloat16", "mixup": 0.2, "cutmix": 0.5},
        {"mixed_precision": "mixed_float16", "schedule": "steps", "drops": (0.5,)},
    ],
)
def test_a_run_learns_with_other_recipes(stripes, tmp_path, changes):
    recipe = dataclasses.replace(Recipe(epochs=6, batch_size=16, learning_rate=0.05, xla=False), **changes)
    train(NETWORK, "stripes", stripes, recipe, tmp_path)
    assert float(history(tmp_path)[-1]["val_loss"]) < 0.5
    assert keras.config.dtype_policy().name == "float32"


def test_weights_to_start_from_come_with_a_new_classifier(stripes, tmp_path):
    task = Task.of_data(stripes, Recipe())
    before = build({**NETWORK}, stripes, Recipe(seed=1), 1, task)
    before.reset_classifier(7).save_weights(tmp_path / "other.weights.h5")
    after = build({**NETWORK}, stripes, Recipe(seed=2), 1, task, weights=str(tmp_path / "other.weights.h5"))
    np.testing.assert_array_equal(
        after.get_layer("block2").get_weights()[0], before.get_layer("block2").get_weights()[0]
    )
    assert after.output_shape == (None, 2)


def test_published_weights_are_trained_behind_the_preprocessing_that_they_need(monkeypatch, tmp_path):
    """For that of X-rays, which is numbers, a recipe has no name; where a recipe names another, it is refused."""
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 1)).astype("float32")
    split = Split(images, np.arange(8, dtype="int32") % 2)
    splits = Splits(split, split, split, ["a", "b"])
    publish(XRAYS, monkeypatch, tmp_path)
    for recipe in (Recipe(), Recipe(normalise="torch")):
        model = build({**TINY}, splits, recipe, 1, Task.of_data(splits, recipe), weights=XRAYS)
        assert model.preprocessing == model.get_layer("preprocess").mode == kd.weights_info(XRAYS).preprocessing
    name = "timm:densenet121.tv_in1k"
    publish(name, monkeypatch, tmp_path)
    splits = Splits(*(part._replace(images=np.repeat(images, 3, -1)) for part in splits[:3]), ["a", "b"])
    assert build({**TINY}, splits, Recipe(), 1, Task.of_data(splits, Recipe()), weights=name).preprocessing == "torch"
    with pytest.raises(ValueError, match=r"The weights need preprocessing 'torch', but .* does 'unit'"):
        build({**TINY}, splits, Recipe(normalise="unit"), 1, Task.of_data(splits, Recipe()), weights=name)
