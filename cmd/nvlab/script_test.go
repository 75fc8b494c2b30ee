package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nvlab/guest/agent"
	"nvlab/nvlabtest"
)

// programs are those that scripts run.
var programs = map[string]func(){"nvlab": main}

// TestMain lets the test binary be nvlab, and a guest's agent.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		agent.Main()
	}
	testscript.Main(m, programs)
}

// TestScripts runs the suites of the command itself. Those that start machines
// do not run with -short.
func TestScripts(t *testing.T) {
	testscript.Run(t, nvlabtest.Params("../../testdata/script"))
}
