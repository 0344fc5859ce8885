"""Image editing: which part of an image is encoded, which codes are drawn, and how the result is pasted
back."""
