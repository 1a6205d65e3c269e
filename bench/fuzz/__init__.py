"""A fuzz of what strangers send: recordings and mels to the decoders, requests to the door."""
