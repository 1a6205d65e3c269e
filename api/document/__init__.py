"""The OpenAPI document as it is served: what the routes and models tell, and what they cannot."""
