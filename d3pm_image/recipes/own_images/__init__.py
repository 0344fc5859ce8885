"""Training both stages on your own images in a given time, in one call: inspect the images, measure the
machine, choose settings, train, generate, report."""
