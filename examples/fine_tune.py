"""Transfer learning on real images: does knowing the digits 0-4 help to learn 5-9 from a few examples of each?

    python examples/fine_tune.py

A small DenseNet-BC learns scikit-learn's handwritten digits 0-4. A new classifier on it then learns 5-9 from five images
of each, first alone, then with the network behind it. The same network from scratch gets the same images, as many steps
and the learning rate that suits it; both choose their best epoch on the same validation images.
"""

import argparse
import time

import keras
import numpy as np

import keras_densenet as kd
from keras_densenet.data import Split, evaluation_batches, load_digits, training_stream
from keras_densenet.training import Recipe

SOURCE, TARGET = range(5), range(5, 10)


def main(arguments=None):
    """Runs the comparison; returns both accuracies on the test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=5, help="images of each new class")
    parser.add_argument("--depth", type=int, default=22, help="of the DenseNet-BC, 6n + 4")
    parser.add_argument("--source-epochs", type=int, default=20, help="passes over the digits 0-4")
    parser.add_argument("--epochs", type=int, default=15, help="of each phase at most")
    parser.add_argument("--steps", type=int, default=15, help="batches of the few images in an epoch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    started, digits = time.perf_counter(), load_digits()
    known, new = of_classes(digits.train, SOURCE), of_classes(digits.train, TARGET)
    few = Split(*(np.concatenate([part[new.labels == c][: options.per_class] for c in range(5)]) for part in new))

    source = network(options.depth, known)
    learn(source, known, Recipe(epochs=options.source_epochs, batch_size=32, seed=options.seed))
    contestants = {
        "fine-tuned": (source.reset_classifier(5), {"head_epochs": options.epochs, "learning_rate": 1e-2}),
        "from scratch": (network(options.depth, known), {"head_epochs": 0, "learning_rate": 1e-2}),
    }
    accuracies = {}
    for name, (model, settings) in contestants.items():
        history = kd.fine_tune(
            model,
            training_stream(few, len(few.labels), options.seed)[0],
            evaluation_batches(of_classes(digits.validation, TARGET), 32),
            epochs=2 * options.epochs - settings["head_epochs"],
            steps_per_epoch=options.steps,
            patience=options.epochs,
            verbose=0,
            **settings,
        )
        test = evaluation_batches(of_classes(digits.test, TARGET), 32)
        accuracies[name] = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
        print(f"{name}: {accuracies[name]:.1%} of the test digits 5-9 after {len(history['loss'])} epochs")
    print(f"{len(few.labels)} images, {time.perf_counter() - started:.0f} s")
    return accuracies


def network(depth, split):
    """A DenseNet-BC of five classes that takes the raw pixels of such images."""
    statistics = {"mean": split.images.mean(), "std": split.images.std()}
    return kd.DenseNet(depth=depth, input_shape=(32, 32, 1), classes=5).with_preprocessing(statistics)


def learn(model, split, recipe):
    """Trains a network from scratch."""
    stream, steps = training_stream(split, recipe.batch_size, recipe.seed)
    model.compile(recipe.optimizer(steps), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=True)
    model.fit(stream, epochs=recipe.epochs, steps_per_epoch=steps, verbose=2)


def of_classes(split, classes):
    """The images of a range of classes, numbered from 0."""
    chosen = np.isin(split.labels, classes)
    return Split(split.images[chosen], split.labels[chosen] - classes.start)


if __name__ == "__main__":
    main()
