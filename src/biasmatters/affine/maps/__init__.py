"""The mixing maps: linear operations with their connections listed."""
