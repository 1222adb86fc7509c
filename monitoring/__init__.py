"""Grafana dashboards of ssecast, made from Python values, and pictures of them from a live fleet.

`make dashboards` writes charts/ssecast/dashboards; `make dashboard-pictures` draws docs/dashboards.
"""
