// Package nvlab holds the sources of the guest's agent, cmd/nvlab-agent, so
// that nvlab can build it for its guests wherever it runs itself.
package nvlab

import "embed"

// AgentSources are the files of the module that cmd/nvlab-agent is built from.
//
//go:embed go.mod go.sum cmd/nvlab-agent/*.go guest/agent/*.go guest/proto/*.go
var AgentSources embed.FS
