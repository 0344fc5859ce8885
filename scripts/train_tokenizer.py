"""`d3pm-image train-tokenizer` as a script, for `accelerate launch scripts/train_tokenizer.py …`."""

import sys

from d3pm_image.cli import main

if __name__ == "__main__":
    main(["train-tokenizer", *sys.argv[1:]])
