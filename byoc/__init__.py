"""Bring Your Own Codegen for a stock apache-tvm."""
