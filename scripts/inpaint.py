"""`d3pm-image inpaint` as a script, for `accelerate launch scripts/inpaint.py …`."""

import sys

from d3pm_image.cli import main

if __name__ == "__main__":
    main(["inpaint", *sys.argv[1:]])
