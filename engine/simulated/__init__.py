"""A cloud that isn't there: zones, stock, quotas, grants, prices and latencies, failing in the clouds' own words."""
