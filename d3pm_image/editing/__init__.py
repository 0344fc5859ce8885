"""Pictures around a repaint: what of a picture is encoded, which codes are drawn, and how the result is
pasted back."""
