"""Service users, services and endpoints in Keystone, in one process: the openstack command takes seconds for each."""

from __future__ import annotations

import openstack

names = {"project_name": "admin", "user_domain_name": "Default", "project_domain_name": "Default"}
cloud = openstack.connect(
    auth_url="http://controller:5000/v3", username="admin", password="admin", region_name="RegionOne", **names
)
identity = cloud.identity
project = identity.find_project("service") or identity.create_project(name="service", domain_id="default")
roles = [identity.find_role(name) or identity.create_role(name=name) for name in ("admin", "service")]
SERVICES = (
    ("glance", "image", "http://controller:9292"),
    ("placement", "placement", "http://controller:8778"),
    ("nova", "compute", "http://controller:8774/v2.1"),
    ("neutron", "network", "http://controller:9696"),
)
for name, kind, url in SERVICES:
    user = identity.find_user(name) or identity.create_user(name=name, password="secret", domain_id="default")
    for role in roles:
        identity.assign_project_role_to_user(project, user, role)
    service = identity.find_service(name) or identity.create_service(name=name, type=kind)
    if not list(identity.endpoints(service_id=service.id)):
        for interface in ("public", "internal"):
            identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")
