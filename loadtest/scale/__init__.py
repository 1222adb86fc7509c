"""How far one operator reaches: a Broadcaster with a thousand pods, and hundreds of Broadcasters, on a real API server.

python -m loadtest.scale
"""
