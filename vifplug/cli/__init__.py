"""The command line: arguments in, one verb run, one result out. It holds no knowledge of the host."""
