"""What every room may use: files written whole, text for people, dtypes by name."""

__all__ = ["block_torch_import", "files", "lazy_exports", "moved_modules", "text"]
