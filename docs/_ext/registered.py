"""``registered``: one entry for every class of a registry, under the name that users choose it by.

    ```{registered} d3pm_image.sampling.SAMPLERS
    ```

The registry is read, so that a new sampler or quantizer has its entry without a line of documentation.
"""

from __future__ import annotations

import importlib

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Registered(SphinxDirective):
    """Sections of a page, from the registry that the argument names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A section for each name, in the order of the alphabet, with the class's own documentation."""
        module, _, variable = self.arguments[0].rpartition(".")
        sections: list[nodes.Node] = []
        for name, kind in sorted(getattr(importlib.import_module(module), variable).items()):
            section = nodes.section(ids=[nodes.make_id(f"{variable}-{name}")])
            section += nodes.title("", "", nodes.literal(name, name))
            entry = (
                f".. autoclass:: {kind.__module__}.{kind.__qualname__}\n   :show-inheritance:\n   :members:\n"
            )
            section += self.parse_text_to_nodes(f"```{{eval-rst}}\n{entry}```\n")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("registered", Registered)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
