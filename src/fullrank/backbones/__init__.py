"""Networks that are kept."""
