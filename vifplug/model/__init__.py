"""Values that go in and out; no I/O."""
