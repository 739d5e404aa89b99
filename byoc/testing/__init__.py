"""Equipment for tests and research: vendors without hardware, faults on demand, models."""

__all__ = ["fake_vendors", "fault_injection", "grammar", "zoo"]
