"""Other servers of event streams, each as its own documentation recommends it, for the benchmark to stand beside."""
