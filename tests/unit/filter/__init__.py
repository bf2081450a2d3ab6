"""Filters: decisions without root."""
