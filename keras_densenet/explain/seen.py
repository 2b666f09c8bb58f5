"""Pictures of where a network looks in signals, images and volumes."""

import numpy as np

from keras_densenet.explain.cam import overlay
from keras_densenet.explain.drawing import colours
from keras_densenet.pictures import lettering, new_figure, save_figure
from keras_densenet.types import Array, Path


def draw_activation(image: Array, heat: Array, path: Path, title: str = "") -> None:
    """Draws a map of `grad_cam` over what it is of.

    A signal is drawn as a curve for each channel, with the heat behind them; an image has the heat laid over it; a
    volume is shown in three orthogonal slices through the place where the heat is strongest, which is marked in each.

    Args:
        image: `(length, channels)`, `(height, width, channels)` or `(depth, height, width, channels)` of any range.
        heat: one of `ClassActivation.maps`, of the image's size.
        path: of the picture, `.png` or `.svg`.
        title: above it.

    Raises:
        ValueError: if the heat is not of the image's size.

    Examples:
        >>> found = kd.grad_cam(model, images / 255)
        >>> kd.explain.draw_activation(images[0], found.maps[0], "seen.png", "what speaks for it")
    """
    image, heat = np.asarray(image, "float32"), np.asarray(heat, "float32")
    if image.ndim not in (2, 3, 4) or image.shape[:-1] != heat.shape:
        raise ValueError(
            "image must be one signal, image or volume (..., channels), and heat a map of its size. "
            f"Received: image of shape {image.shape}, heat of shape {heat.shape}"
        )
    figure = new_figure(4, 4) if image.ndim == 3 else new_figure(9, 3.4)
    {2: _draw_signal, 3: _draw_image, 4: _draw_volume}[image.ndim](figure, image, heat)
    (text,), family = lettering([title])
    if text:
        figure.suptitle(text, fontsize=11, family=family)
    save_figure(figure, path)


def _draw_signal(figure, signal, heat):
    axes = figure.subplots()
    axes.plot(signal, linewidth=0.8)
    behind = np.concatenate([colours(0.9 * heat) / 255, 0.6 * heat[:, None]], -1)
    low, high = axes.get_ylim()
    axes.imshow(behind[None], extent=(-0.5, len(signal) - 0.5, low, high), aspect="auto", zorder=0)
    axes.set_xlabel("step")


def _draw_image(figure, image, heat):
    axes = figure.subplots()
    axes.imshow(_overlaid(image, heat))
    axes.set_axis_off()


def _draw_volume(figure, volume, heat):
    picture, place = _overlaid(volume, heat), np.unravel_index(heat.argmax(), heat.shape)
    for axis, (axes, name) in enumerate(zip(figure.subplots(1, 3), ("depth", "height", "width"), strict=True)):
        row, column = (place[other] for other in range(3) if other != axis)
        axes.imshow(np.take(picture, place[axis], axis))
        axes.axhline(row, color="white", linewidth=0.6, alpha=0.6)
        axes.axvline(column, color="white", linewidth=0.6, alpha=0.6)
        axes.set_title(f"{name} {place[axis]}", fontsize=9)
        axes.set_axis_off()


def _overlaid(image, heat):
    return overlay(stretched(image)[None], heat[None])[0]


def stretched(image):
    """Values of any range, the lowest as 0 and the highest as 255."""
    low, high = image.min(), image.max()
    return (image - low) * (255 / (high - low or 1))
