"""Where objects are kept: folders and buckets, by their URLs, through fsspec."""

from __future__ import annotations

import os
import time
from typing import Any

_LOGINS = {
    "gs": "`gcloud auth application-default login`",
    "s3": "`aws sso login`, or set AWS_PROFILE; `aws sts get-caller-identity` says who you are",
}
# Of credentials that are no good any more, or never were. S3's own:
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; the others are STS's and IAM's.
_REFUSED = frozenset({
    "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "ExpiredTokenException",
    "InvalidClientTokenId", "UnrecognizedClientException",
})  # fmt: skip
_UNDER_WAY = "ConditionalRequestConflict"
# For how long another request for the same object is waited for, s: S3 takes 8 MiB in less than one, as a rule.
_PAUSES_S = (0.2, 0.5, 1.0, 2.0)


class NoCredentials(Exception):
    """Nobody is logged in to the cloud of a bucket. The text says how to mend it."""


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL (``gs://…``) or of a folder's path, and the path on it without a slash at its end.

    What a file system lists is asked anew each time: others write to the same place. Raises ImportError where a
    bucket's package isn't installed, and where nobody is logged in google.auth's own error, or NoCredentials.
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
    if url.startswith("s3://"):
        if not fsspec.config.conf.get("s3"):
            _require_aws_credentials()
        options["cache_regions"] = True  # a bucket's region is asked for: it needn't be where the runs are
        options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": 3}}
    system, path = fsspec.core.url_to_fs(os.path.expanduser(url), **options)  # noqa: PTH111 (it may be a URL)
    return system, str(path).rstrip("/")


def _require_aws_credentials() -> None:
    """Without credentials each request would look for them anew, the instance metadata service among the places.

    Raises NoCredentials.
    """
    import botocore.exceptions
    import botocore.session

    try:
        credentials = botocore.session.Session().get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()  # those of a login are fetched only now
            return
        said = "Unable to locate credentials"
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        said = str(error)  # an SSO session that has expired, a profile that isn't there
    raise NoCredentials(f"no credentials for AWS: {said.rstrip('.')}. Log in: {_LOGINS['s3']}")


def create(system: Any, path: str, data: bytes) -> None:
    """Make an object, unless there is one of that name: then nothing happens. Raises the store's own errors.

    The store itself sees to it, by the condition of the request: `If-None-Match: *` for S3.
    """
    for pause in (*_PAUSES_S, None):
        try:
            system.pipe_file(path, data, mode="create")
            return
        except FileExistsError:
            return  # a request that was sent again: an object never changes
        except OSError as error:
            # S3 says so while another request for the same object is under way, and that one may still fail:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            if _code(error) != _UNDER_WAY or pause is None:
                raise
        time.sleep(pause)


def bucket_exists(system: Any, url: str) -> bool:
    """Whether a URL's bucket itself is there. Raises the store's own errors: what isn't known is no answer."""
    scheme, _, rest = url.partition("://")
    bucket = rest.partition("/")[0]
    if scheme != "s3":
        return bool(system.exists(bucket))
    try:
        # s3fs's own `exists` takes each error for a no, and the answer to HeadBucket has no text that says why.
        system.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)
    except FileNotFoundError:
        return False
    return True


def why(error: Exception, url: str) -> str:
    """What a store's error says, with AWS's code for it, which s3fs leaves out, and what mends it."""
    said = (str(error.__cause__ if _code(error) else error) or type(error).__name__).rstrip(".")
    if isinstance(error, NoCredentials):
        return said
    login = _LOGINS.get(url.partition("://")[0], "")
    if _code(error) in _REFUSED:
        return f"AWS refuses the credentials: {said}. Log in again: {login}"
    check = f"the bucket is yours to use ({login})" if login else "it is yours to use"
    return f"{said}. Check that {check}, or name another store: gpubench:results"


def _code(error: Exception) -> str:
    """The code of AWS's own that an error of s3fs's stands for; empty where there is none."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
