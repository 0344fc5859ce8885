"""A data set of numbers, and faults of the processes that load it."""

from __future__ import annotations

import os
import signal

import torch
from torch.utils.data import Dataset

from d3pm_image.config import ConfigError
from d3pm_image.data.order import BatchOrder

ORDER = BatchOrder(16, 4, 0, 0, 8)


class Numbers(Dataset):
    """A batch of 4 items of 64 KB, by number."""

    def __init__(self, fault: str = ""):
        self.fault = fault

    def __len__(self) -> int:
        return 16

    def __getitems__(self, keys):
        if self.fault == "setting":
            raise ConfigError("data.root", "x", "not one image could be decoded; check the folder")
        if self.fault == "disk":
            raise OSError(5, "Input/output error", "set/3.png")
        if self.fault == "stuck" and keys[0] == list(ORDER)[3][0]:
            os.kill(os.getpid(), signal.SIGSTOP)
        index = torch.tensor(keys) % 16
        return {"images": index[:, None].repeat(1, 1 << 16).to(torch.uint8), "index": index}
