module ssecast.dev/fanbench

go 1.24
