"""Settings of an estimate: what is estimated, and with which assumptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import check
from .worded import worded


@dataclass(frozen=True, kw_only=True)
class EstimateConfig:
    """Estimate time and memory of a training before it begins.

    Args:
        file: YAML file of train-tokenizer or train-diffusion. Stage two needs its tokenizer: a trained one,
            or --tokenizer FILE, the YAML that will train it.
        stage: tokenizer or diffusion; auto looks at the options in the file.
        images: Training images; 0 counts those of the source.
        classes: Classes of stage two; -1 takes those of the source, or none where it is not there.
        seconds: Length of the measurement on this machine; 0 leaves it out.
        devices: Processes, each with one device, that share a step's batch; memory and operations are those
            of one device.
        peak_tflops: Peak rate of another device, in TFLOP/s in the run's precision, to estimate its hours as
            well; 0 is off.
        reached: Fraction of peak_tflops that training is assumed to reach.
    """

    file: str
    stage: Literal["auto", "tokenizer", "diffusion"] = "auto"
    images: int = worded(0, "those of the source")
    classes: int = worded(-1, "those of the source")
    seconds: float = 15.0
    devices: int = 1
    peak_tflops: float = worded(0.0, "off")
    reached: float = 0.45

    def __post_init__(self) -> None:
        hint = "give the number of training images, or 0 to count those of the source"
        check(self.images >= 0, "images", self.images, hint)
        hint = "give 0 or more classes, or -1 for those of the source"
        check(self.classes >= -1, "classes", self.classes, hint)
        check(0 <= self.seconds <= 3600, "seconds", self.seconds, "give 0 (no measurement) to 3600 seconds")
        check(self.devices >= 1, "devices", self.devices, "use at least 1")
        check(0 <= self.peak_tflops < 1e6, "peak_tflops", self.peak_tflops, "give TFLOP/s, such as 989, or 0")
        check(0 < self.reached <= 1, "reached", self.reached, "give a share in (0, 1], such as 0.45")
