"""What README and docs/ say of speed, measured on this machine: python -m benchmarks all [--quick].

Each benchmark has a process of its own. With --quick, which takes half an hour on two cores, three steps are timed
instead of up to 21. Figures and a page with the machine's name are in results/<machine>/.
"""

import os
import subprocess
import sys
from typing import Annotated

import typer

from benchmarks.race import RESULTS, console, machine
from keras_densenet.files import written_beside

BENCHMARKS = "train_step", "inference", "growth"
TABLES = {"machines": "In short", "contestants": "All contestants", "growth": "Growth"}
app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.callback()
def _commands():
    pass


@app.command()
def all(quick: Annotated[bool, typer.Option("--quick", help="Time three steps of each contestant.")] = False):
    """Runs the benchmarks of speed and memory, and writes a page of what they found.

    Example: python -m benchmarks all --quick
    """
    about = machine()
    date, name = about.split(";")[0].split(", ", 1)
    folder = RESULTS / name.replace("/", "-")
    settings = {**os.environ, "BENCHMARKS_RESULTS": str(folder)} | ({"BENCHMARKS_ROUNDS": "3"} if quick else {})
    for module in BENCHMARKS:
        console.print(f"benchmarks.{module} ...", highlight=False)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{module}"], env=settings).returncode:
            console.print(f"benchmarks.{module} failed, the page goes without it", style="red")
    page = f"# {name}\n\n{about}. By `python -m benchmarks all{' --quick' * quick}`.\n"
    for table, title in TABLES.items():
        command = [sys.executable, "-m", "benchmarks.tables", table]
        made = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True)
        page += f"\n## {title}\n\n{made.stdout}" * (not made.returncode)
    with written_beside(folder / f"{date}.md") as beside:
        beside.write_text(page)
    console.print(f"{folder / date}.md", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
