"""From files to batches of decoded clips."""
