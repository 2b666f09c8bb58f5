"""Runs a SavedModel's `serving_default` on arrays, with nothing but TensorFlow: python run_saved_model.py MODEL IN OUT.

IN is an `.npy` file of images, OUT gets the probabilities. This file must stay free of Keras and of this package.
"""

import sys

import numpy as np
import tensorflow as tf

if __name__ == "__main__":
    folder, images, out = sys.argv[1:]
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    np.save(out, serve(image=tf.constant(np.load(images, allow_pickle=False)))["probabilities"].numpy())
