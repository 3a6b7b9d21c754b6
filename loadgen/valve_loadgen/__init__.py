"""The load generator: arrivals, client, offline driver, scenarios, report; speaks HTTP only."""
