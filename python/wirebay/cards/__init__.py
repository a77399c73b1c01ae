"""Simulated network cards: register models, their buses, and the server that offers them to a VMM."""
