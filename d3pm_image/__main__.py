"""``python -m d3pm_image``: the command line."""

from d3pm_image.cli import main

if __name__ == "__main__":
    main()
