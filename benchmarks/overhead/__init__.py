"""What the protocol costs over a direct call of the library behind it."""
