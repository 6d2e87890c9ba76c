"""Whole experiments as functions."""
