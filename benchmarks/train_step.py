"""Time and memory of one training step: python -m benchmarks.train_step [densenet121] [densenet-bc-100-12].

Ten minutes for each network. DenseNet-121 trains 8 images of 224x224, a CIFAR network 64 of 32x32.
"""

from benchmarks.race import networks, race, show

if __name__ == "__main__":
    for network, batch_size in networks():
        show(f"train step, {network}, batch {batch_size}", race("train", network, batch_size, rounds=21))
