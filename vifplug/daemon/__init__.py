"""The daemon: owns a host's VIFs, keeps them plugged, and serves requests on a Unix socket."""
