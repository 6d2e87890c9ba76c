"""Checkpoints of other codebases, from their files alone: which layout a file has, and the network that it holds.

file -> flat keys -> layout (one file a codebase, most of it data) -> parts -> network in our own modules.
"""
