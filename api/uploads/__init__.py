"""Recordings that are sent before their jobs: past the API to S3, or to the API in one piece or in parts."""
