//go:build !amd64

package nestedtest

// tscKHz is 0: the frequency is not known.
func tscKHz() uint64 { return 0 }
