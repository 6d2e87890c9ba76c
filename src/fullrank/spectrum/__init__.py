"""From features to a verdict about collapse."""
