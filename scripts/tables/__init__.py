"""Every table of the pages by its name, a function without arguments that gives its Markdown. New ones: write
it in the module that fits, add it there to TABLES."""

from __future__ import annotations

from . import baselines, evaluations, quality, speed

TABLES = {**speed.TABLES, **quality.TABLES, **evaluations.TABLES, **baselines.TABLES}
