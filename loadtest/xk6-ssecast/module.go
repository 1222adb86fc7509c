// Package ssecast is a k6 extension for Server-Sent Events, `k6/x/ssecast`: `open` reads one stream from JavaScript, `fleet`
// holds thousands of EventSources within one VU and counts what each of them had, `publish` sends what they are to have.
package ssecast

import (
	"errors"
	"sync"
	"sync/atomic"

	"go.k6.io/k6/js/common"
	"go.k6.io/k6/js/modules"

	"ssecast.dev/xk6-ssecast/internal/tally"
)

// Name is what scripts import.
const Name = "k6/x/ssecast"

var errInit = errors.New("streams cannot be opened in the init context: call this from a VU's function, or from setup")

func init() {
	modules.Register(Name, newModule())
}

// module is shared by all VUs: what one of them publishes is owed to the streams of another one.
type module struct {
	ordinals atomic.Int64 // streams made so far, of all fleets
	mutex    sync.Mutex
	ledgers  map[string]*tally.Ledger
}

func newModule() *module {
	return &module{ledgers: map[string]*tally.Ledger{}}
}

// NewModuleInstance is called for each VU.
func (m *module) NewModuleInstance(vu modules.VU) modules.Instance {
	meters, err := registerMeters(vu.InitEnv().Registry)
	if err != nil {
		common.Throw(vu.Runtime(), err)
	}
	return &instance{module: m, vu: vu, meters: meters}
}

// ledger of a run, made by whoever asks first.
func (m *module) ledger(run string) *tally.Ledger {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	found := m.ledgers[run]
	if found == nil {
		found = tally.NewLedger()
		m.ledgers[run] = found
	}
	return found
}

// instance is one VU's.
type instance struct {
	*module
	vu     modules.VU
	meters *meters
}

// Exports are `open`, `fleet`, `publish` and `probe`, each by its name and all of them by default.
func (i *instance) Exports() modules.Exports {
	return modules.Exports{Named: map[string]any{
		"open":    i.open,
		"fleet":   i.fleet,
		"publish": i.publish,
		"probe":   i.probe,
	}}
}
