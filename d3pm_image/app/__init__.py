"""The web page: a trained model in a browser, on this machine only by default.

    page (the tabs), parts (their components), events (connections between components)
    → handlers (what a click does, error messages) → page_models (the menu of models)
    → page_model (one model and its requests) → streaming (the decode as it happens)
    canvas_mask (painted canvas → mask of the image's own pixels), files (results as PNGs with settings),
    server (start), guard and gate (checks of requests), theme (style)

Only page, parts, events, handlers, errors, guard, theme and server import gradio.
"""
