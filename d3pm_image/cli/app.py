"""``d3pm-image app [MODEL]``: the web page."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ..config import check
from ..devices import PrecisionOption, pick_device
from ..parser import parse

DEFAULT = "fashion-mnist"


@dataclass(frozen=True, kw_only=True)
class App:
    """Open a page in the browser: generate, inpaint with a brush, outpaint, vary, and look at the tokenizer's
    codes. Needs the extra app.

    Args:
        model: Model folder, the run that trained it, or a name.
        host: Address to listen at. 127.0.0.1 is this machine only; with 0.0.0.0 everybody who can reach the
            machine can use the page.
        port: Port to listen at; 0 takes any free one.
        device: auto, cpu, cuda or mps (an Apple GPU; auto never takes it).
        precision: float32, bf16 (other images under the same seed), or auto: bf16 where the device is at
            least as fast with it.

    Example:
        d3pm-image app fashion-mnist
    """

    model: str = DEFAULT
    host: str = "127.0.0.1"
    port: int = 7860
    device: str = "auto"
    precision: PrecisionOption = "auto"

    def __post_init__(self) -> None:
        check(bool(self.host), "host", self.host, "give an address, such as 127.0.0.1")
        check(0 <= self.port <= 65535, "port", self.port, "give 0 (any free one) to 65535")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    texts = {"model": f"Model folder, the run that trained it, or a name (default {DEFAULT})."}
    run(parse("app", App, arguments, texts, optional=("model",)))


def run(args: App) -> None:
    """Raises ConfigError for a missing extra, model, device or port."""
    from ..app.server import check_installed, serve

    check_installed()
    from ..pipeline import Pipeline

    if args.host not in ("127.0.0.1", "localhost", "::1"):
        print(
            "d3pm-image app: note: whoever can reach this machine can use the page; see docs/app.md for a"
            " tunnel",
            file=sys.stderr,
        )
    model = args.model or DEFAULT
    serve(
        Pipeline.from_pretrained(model, pick_device(args.device), args.precision), model, args.host, args.port
    )
