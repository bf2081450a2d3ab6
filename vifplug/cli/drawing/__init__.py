"""Pictures of a VIF's path and of a host, in several formats. Pure."""
