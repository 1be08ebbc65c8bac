"""Names that flags offer."""

# Layout -> how its file ends.
LAYOUTS = {"grid": ".png", "comic": ".png", "scroll": ".png", "film": ".webp", "book": ".pdf"}
