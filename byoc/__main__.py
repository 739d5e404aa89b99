"""``python -m byoc``."""

from byoc.cli import main

main()
