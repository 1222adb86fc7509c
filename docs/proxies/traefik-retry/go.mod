module ssecast.dev/traefik-retry

go 1.21
