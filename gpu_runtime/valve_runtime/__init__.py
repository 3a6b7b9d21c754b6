"""The runtime: node segment, tenants, mechanisms, devices, doctor."""
