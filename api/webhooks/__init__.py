"""Receivers of webhooks: register them, look at what they were sent."""
