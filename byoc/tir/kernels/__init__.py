"""Tensor expressions of the ops that matter most; their schedules are in `byoc.tir.schedule`."""
