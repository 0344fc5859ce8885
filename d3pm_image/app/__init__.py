"""The web page: a trained model in a browser, on this machine alone unless told otherwise.

    page (the tabs), parts (what they are made of), events (what their parts do to each other)
    → handlers (what a click does, errors in words) → studios (the menu of models) → session (requests)
    → streaming (the decode as it happens)
    canvas_mask (painted canvas → mask of the image's own pixels), files (results as PNGs with settings),
    server (start), guard and gate (who may ask for what), theme (how it looks)

Only page, parts, events, handlers, errors, guard, theme and server import gradio.
"""
