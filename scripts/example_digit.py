"""Write a real handwritten digit at the quickstart model's size, and a mask of its lower half.

python scripts/example_digit.py digit.png mask.png [NUMBER]
"""

import sys

import numpy as np
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.data.images import fit
from d3pm_image.data.sources import open_source

SIZE = 16

if __name__ == "__main__":
    digit_path, mask_path = sys.argv[1:3]
    source = open_source(DataConfig("digits"), held_out=True)
    number = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    fit(source.load(number), (SIZE, SIZE), "center").save(digit_path)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[SIZE // 2 :] = 255
    Image.fromarray(mask).save(mask_path)
