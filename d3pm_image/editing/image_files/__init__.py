"""Images as their owners keep them: modes, palettes, bit depths, metadata and formats, before and after an
edit."""
