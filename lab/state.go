package lab

// A StateError says that a VM is not in a state for what it was asked.
type StateError struct {
	State State // it is in
	Fresh bool  // it has never been switched on
	Next  Step  // what would help
}

// A Step is what brings a VM into another state.
type Step int

// Steps that a StateError can ask for.
const (
	StepBoot   Step = iota // Boot
	StepEnd                // PowerOff or Kill, or Reboot
	StepCut                // PowerCut or Kill
	StepKill               // Kill
	StepRevive             // Kill, or Boot again
)

func (e *StateError) Error() string {
	switch {
	case e.Fresh:
		return "the VM has not been switched on yet"
	case e.State == Off:
		return "the VM is off"
	case e.State == Crashed:
		return "the guest has crashed"
	case e.Next == StepEnd:
		return "the VM is on already"
	}
	return "the VM is on"
}
