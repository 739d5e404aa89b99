"""Pass 5: each segment becomes a function of its own and the value a vendor receives."""

__all__ = ["bridge", "build", "outline", "segments"]
