"""What is measured and trained in the ten minutes in which a GPU can be had."""
