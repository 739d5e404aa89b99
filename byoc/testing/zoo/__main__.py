"""Write models of the zoo: ``python -m byoc.testing.zoo resnet50 bert``."""

from __future__ import annotations

import argparse
from pathlib import Path

from byoc.testing.zoo import NAMES, model_path


def _option(text: str) -> tuple[str, int | str]:
    key, _, value = text.partition("=")
    return key, int(value) if value.isdecimal() else value


def main() -> None:
    """Write the files of the models that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m byoc.testing.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights")
    parser.add_argument("-o", "--folder", type=Path, help="where to write (default: models/)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", type=_option, action="append", default=[],
        help="option of the builder: batch=n, sequence=s, layers=2",
    )  # fmt: skip
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no model {', '.join(sorted(unknown))}; legal: {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        options = dict(arguments.set)
        print(model_path(name, arguments.seed, folder=arguments.folder, **options), flush=True)


if __name__ == "__main__":
    main()
