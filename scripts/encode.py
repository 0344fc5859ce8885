"""`d3pm-image encode` as a script, for `accelerate launch scripts/encode.py …`."""

import sys

from d3pm_image.cli import main

if __name__ == "__main__":
    main(["encode", *sys.argv[1:]])
