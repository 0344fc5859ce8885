"""The models of the page's menu: the one that the page was started with, the shipped ones and those of the
hub's cache. Each is loaded from this machine when it is first chosen; no other model can be named."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ..config import check
from ..model_list import known_models
from ..pipeline import Pipeline
from .page_model import PageModel

MOST_LOADED = 2
"""Models in memory besides the one that the page was started with; of more, the least recently used is
dropped."""


class PageModels:
    """The models of the menu, each loaded when it is first chosen, on one device, with one folder and one
    queue for all.

    Args:
        first: That of the model that the page was started with; it stays in memory.
    """

    def __init__(self, first: PageModel):
        self.first = first
        self.folders: dict[str, Path] = {}
        for one in known_models():  # shipped ones come first, and keep their names
            self.folders.setdefault(one.name, one.folder)
        self.folders.pop(first.model, None)
        self.loaded: OrderedDict[str, PageModel] = OrderedDict()
        self.lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Entries of the menu, in order."""
        return [self.first.model, *self.folders]

    def get(self, name: Any) -> PageModel:
        """The session of a model. Raises ConfigError for a name that the menu does not offer, and for a model
        that cannot be read."""
        known = isinstance(name, str) and (name == self.first.model or name in self.folders)
        check(known, "model", name, "is not in the menu; load the page again")
        if name == self.first.model:
            return self.first
        with self.lock:
            if name not in self.loaded:
                self.loaded[name] = self.load(name)
            self.loaded.move_to_end(name)
            while len(self.loaded) > MOST_LOADED:
                self.loaded.popitem(last=False)
            return self.loaded[name]

    def load(self, name: str) -> PageModel:
        """Read a model from its folder; the hub is not asked."""
        pipe = self.first.pipe
        precision = "auto" if pipe.by_device else pipe.precision
        loaded = Pipeline.from_pretrained(self.folders[name], pipe.device, precision)
        page_model = PageModel(loaded, name, self.first.shelf.folder)
        page_model.lock = self.first.lock
        return page_model
