// Package types asks for the Go types of the Prometheus operator, from which controller-gen makes its definitions. Nothing is
// built of it: without the import, go mod tidy would drop their module.
package types

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
