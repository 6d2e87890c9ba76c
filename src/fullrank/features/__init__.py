"""From an encoder and a source to a table on disk."""
