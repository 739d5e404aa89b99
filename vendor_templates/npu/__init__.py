"""The sample accelerator."""
