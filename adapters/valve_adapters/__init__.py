"""Adapters: one module per engine: routes, load, drain, token counting."""
