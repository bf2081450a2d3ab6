"""Drivers: one file per vif_type, VIF and options in, desired resources out. Pure; no effects, no configuration."""
