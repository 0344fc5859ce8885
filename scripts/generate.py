"""`d3pm-image generate` as a script, for `accelerate launch scripts/generate.py …`."""

import sys

from d3pm_image.cli import main

if __name__ == "__main__":
    main(["generate", *sys.argv[1:]])
