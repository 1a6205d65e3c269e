"""Whether clients can reach the storage themselves."""

from shared.settings import Settings


def clients_reach_storage(settings: Settings) -> bool:
    """Whether they can, as far as the settings tell: S3 under an address for clients, or AWS itself."""
    ours_alone = settings.s3_endpoint is not None and settings.s3_public_endpoint is None
    return settings.storage_url.startswith("s3://") and not ours_alone
