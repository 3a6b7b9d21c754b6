"""The leased block pool: an engine's KV blocks on memory that comes and goes by the page."""
