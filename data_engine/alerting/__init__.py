"""Telling people of trouble: what is expected of flows, and what is to be told now, once. Decisions only; nothing is sent here."""
