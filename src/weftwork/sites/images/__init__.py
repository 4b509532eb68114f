"""Container images: what a name means, what an image counts as, and its bytes as each runtime wants them."""
