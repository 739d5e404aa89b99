"""Equipment for tests and research: vendors without hardware, faults on demand, models.

`zoo` (models) and `grammar` (random ONNX graphs) are in a checkout only; wheels leave them out.
"""

__all__ = ["fake_vendors", "fault_injection", "fresh_process", "planted_faults", "reloaded"]
