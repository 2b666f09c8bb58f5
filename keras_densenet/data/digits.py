"""scikit-learn's handwritten digits: real images that need no network."""

import numpy as np
import tensorflow as tf

from keras_densenet.data.splits import Split, Splits


def load_digits() -> Splits:
    """Loads the 1,797 digits, enlarged from 8x8 to 32x32 pixels and always split in the same way.

    Returns:
        `Splits` of 1,257 / 180 / 360 images `(32, 32, 1)`, float32 in 0..255, every class with its share.

    Examples:
        >>> kd.data.load_digits().train.images.shape
        (1257, 32, 32, 1)

    Source: scikit-learn's `load_digits`, the test set of UCI's "Optical Recognition of Handwritten Digits".
    """
    try:
        import sklearn.datasets
        import sklearn.model_selection
    except ImportError:
        raise ImportError("The digits need scikit-learn: pip install 'keras-densenet[cli]'") from None
    digits = sklearn.datasets.load_digits()
    images = tf.image.resize(digits.images[..., None] * (255 / 16), (32, 32)).numpy()
    rest, test = sklearn.model_selection.train_test_split(
        np.arange(len(images)), test_size=360, stratify=digits.target, random_state=0
    )
    train, validation = sklearn.model_selection.train_test_split(
        rest, test_size=180, stratify=digits.target[rest], random_state=0
    )
    parts = [Split(images[part], digits.target[part].astype("int32")) for part in (train, validation, test)]
    return Splits(parts[0], parts[1], parts[2], [str(name) for name in digits.target_names])
