"""Relay operators in Relax, by family; `table.OPERATORS` is all of them."""
