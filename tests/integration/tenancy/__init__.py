"""Two tenants and a shared namespace: compiled by the operator, served by a real gateway."""
