"""Uplinks: shared links that join a network's Linux bridge to networks outside the host.

An uplink that another program made is used: it is put on the bridge and taken off it with the last VIF, and nothing
else of it changes. On a bridge that another program made, the uplink must be there already.
"""
