"""Settings of the documentation site, which Sphinx, MyST and furo build from the Markdown of this folder.

Nothing here is fetched, neither by the build nor by a reader's browser: formulas are MathML
(``_ext/mathml.py``), search is Sphinx's own, and fonts are those of the reader's system.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]
# the notebook's own process imports the package from here, installed or not
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

from d3pm_image import __version__  # noqa: E402

project = "d3pm_image"
author = "the authors of d3pm_image"
version = release = __version__
copyright = "Apache License 2.0"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "docstrings",
    "mathml",
    "references",
    "repository_links",
    "registered",
]
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints"]

# Markdown as GitHub reads it: $…$ and ```math, anchors of headings by their words
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_dmath_double_inline = True
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# the notebook is run by every build, and one that fails fails the build
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_ipywidgets_js = {}  # these would come from the network
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

autodoc_typehints = "description"
autodoc_typehints_description_target = "all"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
add_module_names = False

# a link that leads nowhere fails a strict build; these are other packages, whose pages are on the network
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|numpy|np|PIL|accelerate|tqdm|collections|dataclasses|pathlib|tarfile|os|io)(\..*)?"),
    (r"py:class", r"(nn\.)?(Tensor|Module|Linear)|Path|Accelerator|AbstractContextManager"),
    (r"py:exc", r"UnidentifiedImageError"),
    (r"py:class", r"d3pm_image\.(registry\.[CK]|data\.image_source\.T|keywords\.T_co)"),  # type variables,
]

html_theme = "furo"
html_title = f"d3pm_image {version}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True
