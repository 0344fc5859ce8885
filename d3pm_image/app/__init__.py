"""The web page: a trained model in a browser, on this machine alone unless told otherwise.

    page (what is seen) → handlers (what a click does, errors in words) → studio (requests to the pipeline)
    → live (the decode as it happens)
    brush (painted canvas → mask of the image's own pixels), files (results as PNGs with their settings),
    server (start)

Only page, handlers and server import gradio.
"""
