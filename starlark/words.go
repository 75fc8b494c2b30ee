package nvstar

import (
	"errors"
	"fmt"

	"nvlab/internal/option"
	"nvlab/lab"
)

// steps are the calls of a scenario that bring a VM into another state.
var steps = map[lab.Step]string{
	lab.StepBoot:   "boot() it first",
	lab.StepEnd:    "poweroff(), reboot() or kill() it first",
	lab.StepCut:    "power_cut() or kill() it first",
	lab.StepKill:   "kill() it first",
	lab.StepRevive: "kill() the VM, or boot() it again",
}

// reasons are what an option's other value does, where that needs a word.
var reasons = map[string]string{
	"strict":   "%s lets malformed firmware through",
	"readonly": "%s opens one that is there",
	"nvdimm":   "t.vm(%s) has it",
	"lock":     "%s lets both",
	"ars":      "t.vm(%s) has them",
}

// inWords adds to an error from below the words in which a scenario would do
// something about it.
func inWords(err error) error {
	if e := new(lab.StateError); errors.As(err, &e) {
		return &wordedError{err, steps[e.Next]}
	}
	if e := new(option.Error); errors.As(err, &e) {
		text := fmt.Sprintf("%s=%v", e.Option, e.Want)
		if on, ok := e.Want.(bool); ok {
			text = e.Option + "=False"
			if on {
				text = e.Option + "=True"
			}
		}
		if reason := reasons[e.Option]; reason != "" {
			return &wordedError{err, fmt.Sprintf(reason, text)}
		}
		return &wordedError{err, "give " + text}
	}
	return err
}

// A wordedError is an error from below and a scenario's words for what helps.
type wordedError struct {
	error
	words string
}

func (e *wordedError) Error() string { return e.error.Error() + ": " + e.words }
func (e *wordedError) Unwrap() error { return e.error }
