"""Where objects are kept: folders and buckets, by their URLs, through fsspec."""

from __future__ import annotations

import os
from typing import Any


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL (``gs://…``) or of a folder's path, and the path on it without a slash at its end.

    What a file system lists is asked anew each time: others write to the same place. Raises ImportError where a
    bucket's package isn't installed, and google.auth's own error where nobody is logged in.
    """
    # Otherwise gcsfs asks for each bucket's kind over gRPC before it does anything, for features that we don't use.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import fsspec.config  # type: ignore[import-untyped]  # here: only who needs a store pays for it
    import fsspec.core  # type: ignore[import-untyped]

    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith("gs://") and "token" not in fsspec.config.conf.get("gs", {}):
        import google.auth

        # Without credentials gcsfs goes on as nobody, and says much later, and of something else, that it may not.
        options["token"], _ = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_write"])
    system, path = fsspec.core.url_to_fs(os.path.expanduser(url), **options)  # noqa: PTH111 (it may be a URL)
    return system, str(path).rstrip("/")
