"""Proof that a compiled notebook is as in its kernel: both are fingerprinted, and what differs is named."""
