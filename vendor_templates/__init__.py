"""Vendors that ship with byoc. Each folder is a complete vendor and an example to copy."""
