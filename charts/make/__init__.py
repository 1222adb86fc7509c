"""Makes what follows from something else: parts of the chart from its values and from the operator, `k8s/` from the chart.

`make chart` and `make k8s` write it; tests compare it with what is there.
"""
