"""What the site takes from outside of docs/: the pages of the root, and what benchmarks wrote and drew."""

import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")


def on_files(files, config):
    for path in [*map(ROOT.joinpath, PAGES), *ROOT.glob("benchmarks/results/**/*.*")]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=path))
    return files


def on_page_markdown(markdown, **_):
    """Links between docs/ and the root, which are one folder on the site."""
    return re.sub(r"\]\((<?)(?:\.\./|docs/)", r"](\1", markdown)
