"""``byoc sign``: put one's name to a compiled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import Json, print_json

__all__ = ["sign"]


def sign(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.byoc", help="A compiled model.", show_default=False)
    ],
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            metavar="KEY.pem",
            help="An ed25519 private key (openssl genpkey -algorithm ed25519).",
            show_default=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Sign a compiled model in place, after every member was verified.

    Check it with `byoc check MODEL.byoc --require-signature PUB.pem`.
    """
    from byoc.runtime.io.checking import signature_of
    from byoc.runtime.io.saving import sign_file

    sign_file(model, key)
    signature = signature_of(model)
    assert signature is not None
    if json:
        print_json({"public_key": signature.public_key.hex()})
    else:
        print(f"{model} is signed with ed25519 key {signature.public_key.hex()}")
