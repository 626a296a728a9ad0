"""Races and load, each bounded in time."""
