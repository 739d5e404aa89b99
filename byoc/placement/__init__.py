"""Placement as files that users keep: policies, locks, and the difference of two locks."""

__all__ = ["lock", "lock_diff", "lock_text", "policy_file"]
