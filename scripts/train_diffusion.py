"""`d3pm-image train-diffusion` as a script, for `accelerate launch scripts/train_diffusion.py …`."""

import sys

from d3pm_image.cli import main

if __name__ == "__main__":
    main(["train-diffusion", *sys.argv[1:]])
