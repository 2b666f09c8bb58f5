"""`keras-densenet models`."""

import rich.table

import keras_densenet as kd
from keras_densenet.cli.common import app, console
from keras_densenet.family import variant


@app.command()
def models():
    """List the family: blocks, growth rate, theta, parameters, MACs.

    Example: keras-densenet models
    """
    table = rich.table.Table("name", "blocks", "k", "theta", "kind", "image", "parameters", "MACs", box=None)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[-2:]:
        column.justify = "right"
    for name in kd.list_models():
        plan, cost = kd.Architecture.plan(**variant(name)), kd.cost(name)
        kind = "".join(("B" * plan.bottleneck, "C" * (plan.theta < 1))) or "plain"
        size = "x".join(map(str, plan.input_shape))
        figures = f"{cost.trainable_parameters:,}", f"{cost.macs / 1e6:,.0f} M"
        blocks = "-".join(map(str, plan.blocks))
        table.add_row(name, blocks, str(plan.growth_rate), str(plan.theta), kind, size, *figures)
    console.print(table)
