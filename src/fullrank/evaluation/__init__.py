"""From feature tables to accuracies."""
