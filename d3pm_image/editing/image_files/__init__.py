"""Image files of users: modes, palettes, bit depths, metadata and formats, before and after an edit."""
