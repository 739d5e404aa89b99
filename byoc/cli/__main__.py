"""``python -m byoc.cli``."""

from byoc.cli import main

main()
