"""Train both stages on handwritten digits, generate, and repaint a part of an image; the same functions take
a folder or images of your own.

python examples/train_from_python.py --out runs/digits_from_python --steps 2000
"""

import argparse
from pathlib import Path

from d3pm_image import Box, Pipeline, train_diffusion, train_tokenizer


def train(data: str, out: Path, image_size: int, steps: int) -> Pipeline:
    """Train both stages."""
    loop = {"steps": steps, "warmup_steps": steps // 10, "preview_every": max(1, steps // 2)}
    network = {"downsampling": 2, "multipliers": [1], "width": 32, "num_codes": 64, "code_dim": 8}
    tokenizer = train_tokenizer(
        data=data, image_size=image_size, out=out / "tokenizer", tokenizer=network, train=loop
    )
    denoiser = {"width": 64, "depth": 2, "heads": 4}
    return train_diffusion(
        data=data, tokenizer=tokenizer, out=out / "diffusion", denoiser=denoiser, train=loop
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default="digits", help="a folder of images, shards, digits, or a torchvision set"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/from_python"))
    parser.add_argument("--image-size", type=int, default=8)
    parser.add_argument(
        "--steps", type=int, default=40, help="steps of each stage; 2000 give digits that can be read"
    )
    args = parser.parse_args()
    pipe = train(args.data, args.out, args.image_size, args.steps)
    images = pipe.generate(8, steps=8, seed=0)
    repainted = pipe.inpaint(images[0], Box(0, 0, args.image_size // 2, args.image_size), variants=4, steps=8)
    for name, image in [
        *((f"image-{i}", one) for i, one in enumerate(images)),
        *((f"repainted-{i}", one) for i, one in enumerate(repainted)),
    ]:
        image.save(args.out / f"{name}.png")
    print(f"{len(images)} images and {len(repainted)} repaintings: {args.out}")


if __name__ == "__main__":
    main()
