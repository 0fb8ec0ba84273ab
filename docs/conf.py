"""The documentation site: ``make docs`` builds it into build/docs, with warnings as errors."""

import sys
from configparser import ConfigParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import sslbolts

setup_cfg = ConfigParser()
setup_cfg.read(Path(__file__).parents[1] / "setup.cfg")
project = setup_cfg["metadata"]["name"]
author = setup_cfg["metadata"]["author"]
copyright = f"{author}, Apache-2.0"
release = version = sslbolts.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx.ext.intersphinx",
    "_extension",
]
exclude_patterns = ["_extension"]

# A reference that leads nowhere is a warning, and `make docs` takes warnings for errors.
nitpicky = True
# Other packages' names. Their inventories need the network: `sphinx-build -t online` links them.
OTHERS = {
    "python": "https://docs.python.org/3",
    "torch": "https://docs.pytorch.org/docs/stable",
    "torchvision": "https://docs.pytorch.org/vision/stable",
    "pytorch_lightning": "https://lightning.ai/docs/pytorch/stable",
    "numpy": "https://numpy.org/doc/stable",
    "matplotlib": "https://matplotlib.org/stable",
    "PIL": "https://pillow.readthedocs.io/en/stable",
}
intersphinx_mapping = {name: (url, None) for name, url in OTHERS.items()} if tags.has("online") else {}  # noqa: F821
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|torchvision|torchmetrics|timm|lightning|pytorch_lightning|numpy|PIL|matplotlib)(\..*)?"),
    (r"py:class", r"Figure|Table|dict\[str"),  # annotations in quotes
    (r"py:.*", r"(jsonargparse|collections|pathlib|contextlib|argparse|types|functools|logging)(\..*)?"),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
smartquotes = False  # --data.batch_size is no dash
nb_execution_mode = "off"  # the tests run the notebooks, and keep their outputs
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}

html_theme = "furo"
html_title = "sslbolts"
html_static_path = ["_static"]
html_css_files = ["site.css"]
linkcheck_timeout = 20
linkcheck_workers = 4
