//go:build !linux

package agent

// Main returns at once: only Linux guests have the agent.
func Main() {}
