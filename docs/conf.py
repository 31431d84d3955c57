"""Settings of the documentation. Before the build, `write_reference` writes one page per public module and
`write_gallery` and `write_theory` the pictures."""

import re
import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

project = "TrueVox"
author = "The TrueVox contributors"
copyright = "The TrueVox contributors"
release = version = installed_version("truevox")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = "TrueVox"
exclude_patterns = ["_build", "_gallery", "_theory"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

PUBLIC_MODULES = [
    "space",
    "image",
    "labels",
    "io",
    "io.dicom",
    "cohort",
    "transforms",
    "pipeline",
    "networks",
    "losses",
    "theory",
    "model",
    "measures",
    "metrics",
    "evaluation",
    "report",
    "recipe",
    "errors",
]

PAGE = """# {name}

```{{eval-rst}}
.. automodule:: {name}
   :members:
   :show-inheritance:
```
"""


def write_reference(app, config):
    """Write docs/reference/<module>.md for the public modules that exist; leave unchanged pages alone."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    specs = [find_spec(f"truevox.{name}") for name in PUBLIC_MODULES]
    names = [spec.name for spec in specs if spec is not None and spec.origin is not None]
    for old in folder.glob("*.md"):
        if old.stem not in names and old.name != "index.md":
            old.unlink()
    for name in names:
        page, text = folder / f"{name}.md", PAGE.format(name=name)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    entries = "\n".join(names)
    index = f"# Modules\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    (folder / "index.md").write_text(index, encoding="utf-8")


def escape_stars(app, what, name, obj, options, lines):
    """Shapes such as (B, C, *spatial) are no emphasis; literals and examples are left alone."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``)", line)
            parts[::2] = [re.sub(r"(?<=, )\*(?=\w)", r"\\*", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def write_gallery(app):
    """Draw every transform, as it is now, into docs/_gallery/."""
    sys.path.insert(0, str(app.srcdir))
    import make_gallery

    make_gallery.write(Path(app.srcdir) / "_gallery")


def write_theory(app):
    """Draw the figures of the theory into docs/_theory/."""
    sys.path.insert(0, str(app.srcdir))
    import make_theory

    make_theory.write(Path(app.srcdir) / "_theory")


def setup(app):
    app.connect("autodoc-process-docstring", escape_stars)
    app.connect("config-inited", write_reference)
    app.connect("builder-inited", write_gallery)
    app.connect("builder-inited", write_theory)
