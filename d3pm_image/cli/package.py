"""``d3pm-image package MODEL``: a model folder for sharing, with half precision, a model card and samples,
uploaded to the hub if asked."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.package import PackageConfig
from ..config.running import OutputOptions
from ..devices import pick_device
from ..parser import parse
from ..printable import printable


@dataclass(frozen=True, kw_only=True)
class Package(PackageConfig, OutputOptions):
    """Export a trained model for sharing: weights in half precision, a model card from the model's metadata,
    and samples.

    Args:
        private: Make the hub repository private.
        device: auto, cpu, cuda or mps (an Apple GPU; auto never takes it), for the samples.

    Example:
        d3pm-image package runs/photos/diffusion --out models/photos
    """

    private: bool = False
    device: str = "auto"


def main(arguments: list[str]) -> None:
    """Parse and run."""
    run(parse("package", Package, arguments, {"model": "Model folder, or the run that trained it."}))


def run(args: Package) -> None:
    """Write the folder, and upload it if asked.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..packaging import package

    out = package(args, pick_device(args.device), args.overwrite)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{printable(out, 0)}: {size / 1e6:.1f} MB, with a model card (README.md) and samples")
    if args.push:
        from ..hub import push

        print(f"uploaded: {push(out, args.push, args.private)}")
