"""Converters of TFLite operators, by family."""
