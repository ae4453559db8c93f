"""Pulumi's passphrase secrets provider: the same salts and ciphertexts as the CLI's, so that a stack file works in
both.

Format (pulumi/pulumi: pkg/secrets/passphrase/manager.go, sdk/go/common/resource/config/crypt.go): a key of 32 bytes
by PBKDF2-SHA256 with 1,000,000 iterations, AES-256-GCM; a ciphertext is `v1:<nonce>:<data>` in base64; a stack's salt
is `v1:<salt>:<ciphertext of the word "pulumi">`, by which a wrong passphrase is told.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from engine.base import InputError

_ITERATIONS = 1_000_000
_CHECK_WORD = "pulumi"


class Passphrase:
    """Encrypts and decrypts a stack's secrets with one passphrase and one salt."""

    def __init__(self, passphrase: str, salt: str) -> None:
        """`salt` is a stack's `encryptionsalt`. Raises InputError if the passphrase isn't the one it was made with."""
        version, _, rest = salt.partition(":")
        encoded, _, check = rest.partition(":")
        if version != "v1" or not check:
            raise InputError(
                f"encryptionsalt: {salt!r} isn't of the form v1:<salt>:v1:<nonce>:<data>; restore it from git"
            )
        self.salt = salt
        self._key = _derive(passphrase, base64.b64decode(encoded))
        try:
            if self.decrypt(check) != _CHECK_WORD:
                raise ValueError("wrong check word")
        except ValueError:
            raise InputError(
                "PULUMI_CONFIG_PASSPHRASE: not the passphrase that this stack's secrets were encrypted with; "
                "set the right one (or PULUMI_CONFIG_PASSPHRASE_FILE)"
            ) from None

    @classmethod
    def new(cls, passphrase: str) -> Passphrase:
        """A crypter with a fresh salt."""
        raw = secrets.token_bytes(8)
        check = _encrypt(_derive(passphrase, raw), _CHECK_WORD)
        return cls(passphrase, f"v1:{base64.b64encode(raw).decode()}:{check}")

    def encrypt(self, plaintext: str) -> str:
        return _encrypt(self._key, plaintext)

    def decrypt(self, ciphertext: str) -> str:
        """Raises ValueError if the text isn't a ciphertext made with this key."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            version, nonce, data = ciphertext.split(":")
            if version != "v1":
                raise ValueError(f"unknown version {version!r}")
            return AESGCM(self._key).decrypt(base64.b64decode(nonce), base64.b64decode(data), None).decode()
        except InvalidTag:
            raise ValueError("encrypted with another key") from None


def passphrase_from(environment: Mapping[str, str] = os.environ) -> str | None:
    """The passphrase that the environment gives, as the CLI reads it; None if it gives none."""
    if (given := environment.get("PULUMI_CONFIG_PASSPHRASE")) is not None:
        return given
    if file := environment.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise InputError(f"PULUMI_CONFIG_PASSPHRASE_FILE: {file}: {error.strerror}") from None
    return None


def _encrypt(key: bytes, plaintext: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(12)
    data = AESGCM(key).encrypt(nonce, plaintext.encode(), None)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(data).decode()}"


@functools.cache
def _derive(passphrase: str, salt: bytes) -> bytes:
    # Cached: a million iterations take about half a second, and one process opens both config and state.
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, _ITERATIONS, 32)
