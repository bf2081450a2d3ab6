"""How the library behaves in a process of greenlets: a run of its own, because it needs eventlet and gevent."""
