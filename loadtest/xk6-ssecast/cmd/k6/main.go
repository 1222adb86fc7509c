// K6 with the extension compiled in: what `make soak` builds. Whoever has xk6 builds the same with `xk6 build --with`.
package main

import (
	"go.k6.io/k6/cmd"

	_ "ssecast.dev/xk6-ssecast"
)

func main() {
	cmd.Execute()
}
