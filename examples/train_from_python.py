"""Train both stages on handwritten digits, generate, and repaint a part of an image.

python examples/train_from_python.py --steps 2000 --out runs/from_python
--data FOLDER takes your own images.
"""

import argparse
from pathlib import Path

from d3pm_image import Box, train_diffusion, train_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits", help="a folder of images, digits, or a torchvision set")
    parser.add_argument("--out", type=Path, default=Path("runs/from_python"))
    parser.add_argument("--image-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, help="of each stage; 2000 give digits one can read")
    args = parser.parse_args()

    network = {
        "downsampling": 2,
        "multipliers": [1],
        "width": 32,
        "quantizer": {"name": "ema", "num_codes": 64, "code_dim": 8},
    }
    loop = {"steps": args.steps, "warmup_steps": args.steps // 10}
    out, size = args.out, args.image_size
    tokenizer = train_tokenizer(
        args.data, image_size=size, out=out / "tokenizer", tokenizer=network, train=loop
    )
    denoiser = {"width": 64, "depth": 2, "heads": 4}
    pipe = train_diffusion(
        args.data, tokenizer=tokenizer, out=out / "diffusion", denoiser=denoiser, train=loop
    )

    images = pipe.generate(8, steps=8, seed=0)
    repainted = pipe.inpaint(images[0], Box(0, 0, size // 2, size), variants=4, steps=8)
    for kind, several in (("image", images), ("repainted", repainted)):
        for number, image in enumerate(several):
            image.save(out / f"{kind}-{number}.png")


if __name__ == "__main__":
    main()
