"""Pure functions of tensors with the paper's equation above them."""
