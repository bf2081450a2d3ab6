"""Guests under QEMU and libvirt, OVN on one host and on two, Neutron's library as the judge: ``tools/test --e2e``."""
