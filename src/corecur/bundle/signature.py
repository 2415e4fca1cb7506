"""Who made a bundle: an Ed25519 signature of its manifest, which holds the hash of every other member.

It stands beside the bundle, as ``NAME.sig``, 64 bytes that other programs can check too:
``openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in manifest.json -sigfile NAME.sig``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from corecur.bundle.member_files import open_plain
from corecur.bundle.open import Bundle
from corecur.bundle.write import write_file
from corecur.errors import BundleError, ConfigError, RunError

_LENGTH = 64


def signature_path(bundle: Path) -> Path:
    """Where the signature of a bundle stands.

    >>> signature_path(Path("models/cats.corecur")).name
    'cats.corecur.sig'
    """
    return bundle.with_name(f"{bundle.name}.sig")


def sign(bundle: Bundle, key: Path) -> Path:
    """Write the signature of a bundle, all of which is checked first; ``key`` is a PEM file with an Ed25519 key.

    BundleError where the bundle is not as it should be, ConfigError for another key, RunError where it cannot be
    written.
    """
    make = "openssl genpkey -algorithm ed25519 -out private.pem"
    with _reading_key(key, make):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        private = load_pem_private_key(open_plain(key).content(), password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError("another kind of key")
    bundle.tensor_file.verify()
    path = signature_path(bundle.path)
    signed = private.sign(bundle.manifest)
    try:
        write_file(path, lambda file: file.write(signed))
    except OSError as error:
        raise RunError("the signature cannot be written", where=path, got=error.strerror) from error
    return path


def check_signature(bundle: Bundle, key: Path) -> None:
    """Refuse (BundleError) a bundle without a signature that the owner of this public key made."""
    with _reading_key(key, "openssl pkey -in private.pem -pubout -out public.pem"):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        public = load_pem_public_key(open_plain(key).content())
        if not isinstance(public, Ed25519PublicKey):
            raise TypeError("another kind of key")
    path = signature_path(bundle.path)
    try:
        region = open_plain(path, follow=False)
        if region.size != _LENGTH:
            raise InvalidSignature
        public.verify(region.content(), bundle.manifest)
    except OSError as error:
        raise BundleError("not-signed", f"there is no signature to read: {error.strerror}", where=path) from error
    except (InvalidSignature, EOFError):
        raise BundleError("bad-signature", "the signature is not one of this file by this key", where=path) from None


@contextlib.contextmanager
def _reading_key(path: Path, make: str) -> Iterator[None]:
    """Say what a key file should be, whatever is wrong with this one; and what is missing where the library is."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            "signatures need the library cryptography, which is not installed", do="pip install 'corecur[sign]'"
        ) from error
    except OSError as error:
        raise ConfigError("the key cannot be read", where=path, got=error.strerror, do=make) from error
    except (TypeError, ValueError) as error:  # also what the library raises for an encrypted or an odd key
        raise ConfigError("this is no Ed25519 key in PEM form", where=path, got=str(error)[:80], do=make) from error
