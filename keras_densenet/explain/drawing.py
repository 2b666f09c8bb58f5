"""Pictures of networks and of what they reuse."""

from collections.abc import Sequence

import numpy as np

from keras_densenet.architecture import by
from keras_densenet.cost import Network, architecture_of, cost
from keras_densenet.explain.gradient import KernelGradient
from keras_densenet.explain.reuse import BlockReuse
from keras_densenet.pictures import lettering, new_figure, save_figure
from keras_densenet.types import Array, InputShape, Path


def colours(values):
    """Values in 0..1 as colours in 0..255, float32 with three channels behind."""
    new_figure(1, 1)  # tells what to install
    import matplotlib

    return np.asarray(matplotlib.colormaps["turbo"](values), "float32")[..., :3] * 255


def draw_reuse(blocks: Sequence[BlockReuse], path: Path, title: str = "") -> None:
    """Draws the heat maps of `feature_reuse` as in the paper's figure 5.

    A column is a reader, its weights in units of its largest; a row is a source, the block's input on top. The colours
    reach from the smallest of these to 1. The frame is around the transition or classifier.

    Args:
        blocks: what `feature_reuse` gave.
        path: of the picture, `.png` or `.svg`.
        title: above it.

    Examples:
        >>> kd.explain.draw_reuse(kd.feature_reuse(model), "reuse.png")
    """
    from matplotlib.patches import Rectangle

    cells = [len(block.readers) + 1 for block in blocks]
    least = min(np.nanmin(block.relative) for block in blocks)
    cell = min(0.42, 10 / sum(cells))
    figure = new_figure(cell * sum(cells) + 0.7 * len(blocks) + 1, cell * max(cells) + 1.7)
    for axes, block in zip(figure.subplots(1, len(blocks), squeeze=False, width_ratios=cells)[0], blocks, strict=True):
        picture = axes.imshow(block.relative.T, cmap="viridis", vmin=least, vmax=1)
        axes.set_title(block.name)
        step = 1 + (len(block.readers) - 1) // 16
        for axis, names, ends in (
            (axes.xaxis, block.readers, {len(block.readers) - 1} if block.reader else set()),
            (axes.yaxis, block.sources, {0}),
        ):
            places = sorted({*range(0, len(names), step)} | ends)
            axis.set_ticks(places, [names[place].removeprefix("layer") for place in places], fontsize=8)
        if block.reader:
            axes.get_xticklabels()[-1].set(rotation=90)
            edges = (len(block.readers) - 1.5, -0.5), 1, len(block.sources)
            axes.add_patch(Rectangle(*edges, fill=False, edgecolor="black", linewidth=1.5, clip_on=False))
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.colorbar(picture, ax=figure.axes, label="mean |weight| / reader's largest", pad=0.01)
    for axes in figure.axes[:-1]:
        axes.set_anchor("N")
    figure.supxlabel("layer that reads", fontsize=10)
    figure.supylabel("layer that is read", fontsize=10)
    (text,), family = lettering([title])
    if text:
        figure.suptitle(text, fontsize=11, family=family)
    save_figure(figure, path)


def draw_captioned(picture: Array, caption: str, path: Path, otherwise: str = "") -> None:
    """Writes a picture with a line of text below, which may be wider than it.

    Args:
        picture: uint8 `(height, width, 3)`.
        caption: the text.
        path: of the picture to write, `.png`.
        otherwise: the text where no installed font can write the caption.

    Examples:
        >>> kd.explain.draw_captioned(np.zeros((16, 16, 3), "uint8"), "dog, 97 %", "dog.png")
    """
    figure, (height, width), margin = new_figure(1, 1), picture.shape[:2], 6
    figure.set_layout_engine("none")
    (text,), family = lettering([caption])
    label = figure.text(0, 0, otherwise if text is None else text, family=family, fontsize=11)
    extent = label.get_window_extent()
    wide, high = max(width, extent.width + 2 * margin), height + extent.height + 2 * margin
    figure.set_size_inches(wide / figure.dpi, high / figure.dpi)
    label.set_position((margin / wide, margin / high))
    figure.figimage(picture, 0, round(high - height))
    save_figure(figure, path, figure.dpi)


def draw_gradients(kernels: Sequence[KernelGradient], path: Path, title: str = "") -> None:
    """Draws what `gradient_flow` gave: a bar for each kernel, from the image to the classifier.

    Args:
        kernels: what `gradient_flow` gave.
        path: of the picture, `.png` or `.svg`.
        title: above it.

    Examples:
        >>> kd.explain.draw_gradients(kd.explain.gradient_flow(model, images / 255, labels), "gradients.png")
    """
    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    parts = [kernel.path.split("/")[-2] for kernel in kernels]  # the layer
    names = list(dict.fromkeys(parts))
    for name in names:
        places = [place for place, part in enumerate(parts) if part == name]
        shade = colours(0.12 + 0.76 * names.index(name) / max(1, len(names) - 1)) / 255
        axes.bar(places, [kernels[place].norm for place in places], color=shade, width=0.9, label=name)
    axes.set_yscale("log")
    axes.set_xticks([])
    axes.set_xlabel("convolutions, from the image to the classifier")
    axes.set_ylabel("norm of the kernel's gradient")
    (text,), family = lettering([title])
    axes.set_title(text or "", fontsize=11, family=family)
    figure.legend(loc="outside right upper", fontsize=8)
    save_figure(figure, path)


def draw_network(network: Network, path: Path, title: str = "", input_shape: InputShape | None = None) -> None:
    """Draws the blocks of a network with the growth of their channels.

    From left to right go the layers, upwards the channels: every layer of a block adds k, which stay to the block's
    end, and a transition keeps its share.

    Args:
        network: what `cost` takes.
        path: of the picture, `.png` or `.svg`.
        title: above it. Default: parameters and MACs.
        input_shape: `(height, width, channels)` of the image, for another than the network's own.

    Examples:
        >>> kd.explain.draw_network("densenet121", "densenet121.svg")
    """
    plan, found = architecture_of(network), cost(network, input_shape)
    stages = [part.stage for part in found.stages]
    figure = new_figure(12, 4.6)
    axes = figure.subplots()
    top, x = max(stage.out_channels for stage in stages if stage.kind != "classifier"), 0.0
    wide = sum(plan.blocks) / 26
    for stage in stages:
        if stage.kind in ("pool", "head", "classifier"):
            continue
        size = "" if None in stage.size else f"\n{by(stage.size)}"
        if stage.kind == "block":
            end = x + stage.layers
            axes.fill_between((x, end), 0, stage.in_channels, color="0.82", linewidth=0)
            for layer in range(stage.layers):
                low = stage.in_channels + layer * plan.growth_rate
                shade = colours(0.12 + 0.76 * (layer + 0.5) / stage.layers) / 255
                axes.fill_between((x + layer, end), low, low + plan.growth_rate, color=shade, linewidth=0)
            axes.text(x + 0.1 * wide, stage.in_channels - 0.01 * top, stage.in_channels, va="top", fontsize=8)
            axes.text(end, stage.out_channels + 0.01 * top, stage.out_channels, ha="right", fontsize=8)
            label = f"{stage.name}{size}\n{stage.layers} layers"
        else:
            end = x + 1.6 * wide
            before = stage.out_channels if stage.kind == "stem" else stage.in_channels
            axes.fill_between((x, end), 0, (before, stage.out_channels), color="0.6", linewidth=0)
            label = "stem" if stage.kind == "stem" else ""
        axes.text((x + end) / 2, -0.03 * top, label, ha="center", va="top", fontsize=9)
        x = end
    if plan.classes:
        axes.fill_between((x + 0.5 * wide, x + 1.7 * wide), 0, top / 5, color="tab:red", alpha=0.7, linewidth=0)
        text = f"classifier\n{plan.classes} classes"
        axes.text(x + 1.1 * wide, -0.03 * top, text, ha="center", va="top", fontsize=9)
    axes.set_ylabel("channels")
    axes.set_ylim(-0.16 * top, 1.08 * top)
    axes.set_xlim(-0.3 * wide, x + 2.6 * wide)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_bounds(0, top)
    (text,), family = lettering([title])
    axes.set_title(text or _figures(plan, found), fontsize=11, family=family)
    save_figure(figure, path)


def _figures(plan, found):
    known = found.input_values is not None
    numbers = f"k = {plan.growth_rate}, theta = {plan.theta:g}, {found.trainable_parameters:,} parameters"
    return f"{numbers}, {found.macs / 1e6:,.1f} M MACs" if known else numbers
