"""Pass 6: what happened to every op and why, advice, and what would change if."""

__all__ = ["advice", "recorder", "whatif"]
