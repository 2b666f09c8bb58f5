"""What a run leaves to others: its model, labels, decisions and record."""

import json
import pathlib
import zipfile
from typing import Any

import keras

from keras_densenet.files import written_beside
from keras_densenet.models import Decisions, DenseNetModel
from keras_densenet.models.flat import known_preprocessing
from keras_densenet.training.folder import read_json
from keras_densenet.types import Path

_CONFIG = "config.json"  # in the archive that a .keras file is


def model_file(path: Path) -> pathlib.Path:
    """The `.keras` file that a path means: itself, or `model.keras` of a run's folder.

    Examples:
        >>> kd.training.model_file("runs/a").as_posix()
        'runs/a/model.keras'
    """
    path = pathlib.Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        what = f"{'a folder without a run' if path.is_dir() else 'not there'}. Give a run's folder or a .keras file"
        if (path / "run.json").exists():
            what = "a run that has not finished: call train again to go on, or give its best.keras"
        raise FileNotFoundError(f"{str(path)!r} is {what}")
    return file


def load_model(path: Path) -> tuple[keras.Model, list[str]]:
    """Loads the model of a run's folder or a `.keras` file, and the names of its classes.

    Returns:
        `(model, labels)`; the labels are numbers where neither the model nor the run's `run.json` beside it has them.

    Examples:
        >>> model, labels = kd.training.load_model("runs/a")
        >>> labels
        ['cat', 'dog', 'frog']
    """
    file = model_file(path)
    try:
        model = keras.models.load_model(file, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{str(file)!r} is not a complete .keras file: {error}") from None
    shape = getattr(model, "output_shape", None)  # a list of several outputs, nothing of what is not built
    numbers = [str(number) for number in range(shape[-1] or 0)] if isinstance(shape, tuple) else []
    labels = getattr(model, "labels", None) or load_record(path).get("labels") or numbers
    return known_preprocessing(model), labels


def keep_decisions(file: Path, decisions: Decisions | None) -> None:
    """Gives the `DenseNetModel` in a `.keras` file its `decisions`; all else in the file stays what it is.

    Raises:
        ValueError: if another kind of model is in it.

    Examples:
        >>> kd.training.keep_decisions("runs/a/best.keras", kd.models.Decisions(temperature=1.5))
        >>> kd.training.load_model("runs/a/best.keras")[0].decisions.temperature
        1.5
    """
    with zipfile.ZipFile(file) as old, written_beside(file) as beside:
        state = json.loads(old.read(_CONFIG))
        if state["registered_name"] != keras.saving.get_registered_name(DenseNetModel):
            raise ValueError(f"{str(file)!r} must hold a DenseNetModel, which keeps decisions, and nothing around it")
        state["config"]["decisions"] = decisions and decisions.as_json()
        with zipfile.ZipFile(beside, "w") as new:
            for item in old.infolist():
                new.writestr(item, json.dumps(state) if item.filename == _CONFIG else old.read(item))


def load_record(path: Path) -> dict[str, Any]:
    """What `run.json` holds beside the model that a path means, a dict; empty where there is none.

    Examples:
        >>> kd.training.load_record("runs/a")["arguments"]["data"]
        'photos'
    """
    return read_json(model_file(path).parent / "run.json") or {}
