"""S3 and what speaks like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.modelkit.drivers.stored import StoreDriver, StoreDriverSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["S3StorageDriver", "S3StorageDriverSettings"]


class S3StorageDriverSettings(StoreDriverSettings):
    """Keys, region, endpoint and KMS key; those not set are found as AWS's own tools find them."""

    variables = StoreDriverSettings.variables | {  # type: ignore[operator]
        "aws_access_key_id": "AWS_ACCESS_KEY_ID",
        "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "aws_default_region": "AWS_DEFAULT_REGION",
        "aws_session_token": "AWS_SESSION_TOKEN",
        "s3_endpoint": "S3_ENDPOINT",
        "aws_kms_key_id": "AWS_KMS_KEY_ID",
    }

    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    aws_default_region: str | None
    aws_session_token: str | None
    s3_endpoint: str | None
    aws_kms_key_id: str | None

    def environment(self) -> Mapping[str, str]:
        """Keys given here belong together: a token or profile of the environment does not go with them."""
        found: dict[str, str] = {}
        if self.aws_access_key_id and self.aws_secret_access_key:
            found["AWS_ACCESS_KEY_ID"] = self.aws_access_key_id
            found["AWS_SECRET_ACCESS_KEY"] = self.aws_secret_access_key
            found["AWS_SESSION_TOKEN"] = self.aws_session_token or ""
        if self.aws_default_region:
            found |= {"AWS_REGION": self.aws_default_region, "AWS_DEFAULT_REGION": self.aws_default_region}
        if self.s3_endpoint:
            found["AWS_ENDPOINT_URL_S3"] = self.s3_endpoint
        if self.aws_kms_key_id:
            found["AWS_KMS_KEY_ID"] = self.aws_kms_key_id
        return found


class S3StorageDriver(StoreDriver):
    """Objects in an S3 bucket."""

    settings_class = S3StorageDriverSettings
    scheme = uri_scheme = "s3"
