"""The loop, the step, and who watches them."""
