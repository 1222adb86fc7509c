"""The table of the shipped policy over all built-in traces, beside an HPA and Knative's rule: `make simulator`."""
