"""From a run to a file and back."""
