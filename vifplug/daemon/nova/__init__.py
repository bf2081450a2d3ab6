"""External events: those that are sent to Nova, and those that come from Neutron."""
