"""What boto3 raises, told in our errors: what is wrong and which setting to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto

from shared.errors import ObjectMissing, StorageDenied, StorageError, StorageUnavailable

KEYS = "VFQ_S3_ACCESS_KEY and VFQ_S3_SECRET_KEY"
MISSING = {"NoSuchKey", "404", "NotFound"}
BAD_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
BAD_REGION = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


def error_code(error: boto.ClientError) -> str:
    """Return the S3 code of an error answer, or its HTTP status where it has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def ended_elsewhere(key: str) -> StorageError:
    """Make the error of an upload that a sweep, or another process, has dropped."""
    return StorageError(f"The upload of {key!r} was ended by someone else; send it again.")


@contextmanager
def translated(bucket: str, key: str = "") -> Iterator[None]:
    """Turn what boto3 raises inside into StorageError and its kinds."""
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, bucket, key) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError) as error:
        raise StorageDenied(f"There are no keys for the S3 server; set {KEYS}.") from error
    except (boto.IncompleteReadError, boto.ResponseStreamingError) as error:
        raise StorageError("Storage ended an object before all of its bytes had come; try again.") from error
    except (boto.ConnectionError, boto.HTTPClientError, OSError) as error:
        raise StorageUnavailable("The S3 server cannot be reached; check VFQ_S3_ENDPOINT.") from error
    except boto.BotoCoreError as error:
        raise StorageError(
            "What VFQ_S3_ENDPOINT names does not answer as an S3 server does; check the setting."
        ) from error


def _answered(error: boto.ClientError, bucket: str, key: str) -> StorageError:
    code = error_code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket" or (code in MISSING and not key):
        return StorageUnavailable(
            f"There is no bucket {bucket!r} on the S3 server; create it, or correct VFQ_STORAGE_URL."
        )
    if code in MISSING:
        return ObjectMissing(f"There is no object {key!r} in storage.")
    if code == "NoSuchUpload":
        return ended_elsewhere(key)
    if code == "PreconditionFailed" or status == 412:
        return StorageError(f"The object {key!r} was replaced while it was being read; read it again.")
    if code == "RequestTimeTooSkewed":
        return StorageDenied("The S3 server refuses our requests because the clocks differ; set this one's.")
    if code in BAD_REGION:
        return StorageDenied("The S3 server wants another region; check VFQ_S3_REGION.")
    if code in BAD_KEYS:
        return StorageDenied(f"The S3 server does not accept our keys; check {KEYS}.")
    if 300 <= status < 400:
        return StorageUnavailable(
            "The S3 server sends us to another address; check VFQ_S3_ENDPOINT (http or https?) and VFQ_S3_REGION."
        )
    if status in (401, 403):
        return StorageDenied(f"The S3 server forbids this on bucket {bucket!r}; check what {KEYS} may do.")
    if status >= 500 or status == 429:
        return StorageUnavailable(
            f"The S3 server is out of order (status {status}); try again later, and check VFQ_S3_ENDPOINT if it stays."
        )
    return StorageError(f"The S3 server refused the request (S3 code {code or status}).")
