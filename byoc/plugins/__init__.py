"""Find vendors that are installed, and check what a user asks of them."""

__all__ = ["discovery"]
