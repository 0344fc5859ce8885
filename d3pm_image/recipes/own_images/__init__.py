"""Both stages on images of one's own in a given time, one call: look at the images, measure the machine,
choose, train, draw, report."""
