"""Decide which messages about troubles people get: the expectations of flows, and each message once. Nothing is sent here."""
