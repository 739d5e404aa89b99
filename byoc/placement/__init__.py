"""Placement as files that users keep: policies, locks, and the difference of two locks."""

__all__ = [
    "constraints",
    "lock",
    "lock_diff",
    "lock_text",
    "lock_values",
    "locked",
    "policy_file",
]
