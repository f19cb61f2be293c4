"""A result card: one self-contained page that carries a score and lets others check it."""
