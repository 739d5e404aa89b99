"""TVM's objects as plain Python values, and numpy arrays as Relax constants."""

__all__ = ["arrays", "decode", "lone_function", "ports"]
