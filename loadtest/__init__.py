"""What puts load on ssecast: a fan-out benchmark against real peers. Not part of the product."""
