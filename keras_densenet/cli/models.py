"""`keras-densenet models`."""

from typing import Annotated

import typer

import keras_densenet as kd
from keras_densenet.architecture import by
from keras_densenet.cli.common import app, console
from keras_densenet.console import Table
from keras_densenet.family import variant
from keras_densenet.weights.catalogue import CHECKPOINTS

_COLUMNS = ("name", "blocks", "k", "theta", "kind", "image", "parameters", "MACs", "ImageNet top-1")


@app.command()
def models(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as the README has it.")] = False,
):
    """List the family: blocks, growth rate, theta, parameters, MACs, accuracy of the best published weights.

    Example: keras-densenet models
    """
    if markdown:
        rows = [_COLUMNS, ["---"] * 6 + ["---:"] * 3, *map(_row, kd.list_models())]
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        return
    table = Table(*_COLUMNS, right=(6, 7, 8))
    for name in kd.list_models():
        table.add_row(*_row(name))
    console.print(table)


def _row(name):
    plan, cost = kd.Architecture.plan(**variant(name)), kd.cost(name)
    accuracies = [
        checkpoint.top1 for checkpoint in CHECKPOINTS.values() if checkpoint.variant == name and checkpoint.top1
    ]
    return (
        name,
        "-".join(map(str, plan.blocks)),
        str(plan.growth_rate),
        str(plan.theta),
        "".join(("B" * plan.bottleneck, "C" * (plan.theta < 1))) or "plain",
        by(plan.input_shape),
        f"{cost.trainable_parameters:,}",
        f"{cost.macs / 1e6:,.0f} M",
        f"{max(accuracies):.1f} %" if accuracies else "",
    )
