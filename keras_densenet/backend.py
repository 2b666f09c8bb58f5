"""What the package stands on: Keras 3 on TensorFlow."""

_NEEDS = (
    'keras_densenet needs Keras 3 on TensorFlow: set KERAS_BACKEND=tensorflow, or "backend" in ~/.keras/keras.json, '
    "before Keras is imported. Received: "
)


def check_backend():
    """Raises ImportError, in one sentence, where Keras is an older one or stands on something else."""
    try:
        import keras
    except (ImportError, ValueError) as error:  # of a backend that is not installed, or unknown
        raise ImportError(f"{_NEEDS}{error}") from error
    if int(keras.__version__.partition(".")[0]) < 3:
        raise ImportError(f"keras_densenet needs Keras 3: pip install 'keras>=3.15.1'. Received: {keras.__version__}")
    if keras.backend.backend() != "tensorflow":
        raise ImportError(f"{_NEEDS}Keras on {keras.backend.backend()}")
