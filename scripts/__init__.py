"""Launchers, and what makes the images, figures and tables of the pages."""
