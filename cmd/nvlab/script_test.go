package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nvlab/nvlabtest"
)

// programs are those that scripts run.
var programs = map[string]func(){"nvlab": main}

// TestMain lets the test binary be nvlab.
func TestMain(m *testing.M) { testscript.Main(m, programs) }

// TestScripts runs the suites of the command itself. Those that start machines
// do not run with -short.
func TestScripts(t *testing.T) {
	testscript.Run(t, nvlabtest.Params("../../testdata/script"))
}
