"""Transfer learning on real images: does knowing the digits 0-4 help to learn 5-9 from a few examples of each?

    python examples/fine_tune.py

A small DenseNet-BC learns scikit-learn's handwritten digits 0-4. A new classifier on it then learns 5-9 from five
images of each, first alone, then with the network behind it. The same network from scratch gets the same images, as
many steps, and a rate for a network that knows nothing. Both keep the epoch with the lowest loss on the same
validation images, which are far more than five of each: the comparison is of the start, not of the stopping.

About four minutes on 2 busy cores. A single run, seed 0, TensorFlow 2.21: fine-tuned 87.8%, from scratch 82.2% of 180
test digits. How much that varies with the seed has not been measured.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

import keras_densenet as kd
from keras_densenet.data import load_digits


def main(arguments=None):
    """Runs the comparison; returns both accuracies on the test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=5, help="images of each new class")
    parser.add_argument("--depth", type=int, default=16, help="of the DenseNet-BC, 6n + 4")
    parser.add_argument("--source-epochs", type=int, default=10, help="passes over the digits 0-4")
    parser.add_argument("--epochs", type=int, default=10, help="of each of the two phases")
    parser.add_argument("--steps", type=int, default=15, help="batches of the few images in an epoch")
    parser.add_argument("--xla", action=argparse.BooleanOptionalAction, default=True, help="compile, or trace only")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and shifts")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    keras.utils.set_random_seed(options.seed)
    train, validation, test, _ = load_digits()
    known, few = choose(train, range(5)), choose(train, range(5, 10), options.per_class)
    validation, test = (batches(*choose(split, range(5, 10))) for split in (validation, test))

    source = network(options.depth, known[0])
    adam = keras.optimizers.AdamW(3e-3)
    source.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=options.xla)
    steps = len(known[1]) // 32
    source.fit(shifted(*known), epochs=options.source_epochs, steps_per_epoch=steps, shuffle=False, verbose=2)
    runs = {  # model, epochs of the classifier alone, its learning rate (the network behind it gets a tenth of that)
        "fine-tuned": (source.reset_classifier(5), options.epochs, 1e-2),
        "from scratch": (network(options.depth, known[0]), 0, 3e-2),
    }
    accuracies = {}
    for name, (model, head_epochs, rate) in runs.items():
        history = kd.fine_tune(
            model,
            shifted(*few),
            validation,
            head_epochs=head_epochs,
            epochs=2 * options.epochs - head_epochs,
            learning_rate=rate,
            patience=options.epochs,
            steps_per_epoch=options.steps,
            jit_compile=options.xla,
            verbose=0,
        )
        accuracies[name] = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
        print(f"{name}: {accuracies[name]:.1%} of the test digits 5-9, after {len(history['loss'])} epochs")
    print(f"{len(few[1])} images of new classes, {time.perf_counter() - started:.0f} s in all")
    return accuracies


def network(depth, images):
    """A DenseNet-BC of five classes that takes raw pixels like these."""
    statistics = {"mean": images.mean(), "std": images.std()}
    return kd.DenseNet(depth=depth, input_shape=(32, 32, 1), classes=5).with_preprocessing(statistics)


def choose(split, classes, per_class=None):
    """The first images of each class, or all of them, and labels numbered from 0."""
    images, labels = split[:2]
    index = np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in classes])
    return images[index], labels[index] - classes.start


def shifted(images, labels, batch_size=32, pad=3):
    """Endless shuffled batches of one size, every image moved by up to `pad` pixels."""

    def shift(image, label):
        return tf.image.random_crop(tf.pad(image, [[pad, pad], [pad, pad], [0, 0]]), images.shape[1:]), label

    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels)).repeat()
    return data.map(shift).batch(batch_size).prefetch(1)


def batches(images, labels):
    """All images in one batch."""
    return tf.data.Dataset.from_tensors((images, labels))


if __name__ == "__main__":
    main()
