"""`d3pm-image evaluate` as a script: `torchrun --nproc_per_node 4 scripts/evaluate.py MODEL …` draws samples
on all processes."""

import sys

from d3pm_image.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
