"""flyball's Grafana dashboards as code; ``python -m grafana`` builds the JSON that Grafana loads."""
