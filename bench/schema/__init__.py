"""A client that knows the OpenAPI document and nothing else, against a running service."""
