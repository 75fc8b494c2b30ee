//go:build !linux

package soft

import "testing"

func newRAM(_ testing.TB, n int) []byte { return make([]byte, n) }

func clearRAM(_ testing.TB, mem []byte) { clear(mem) }

func touchedPages(mems ...[]byte) []hostPage { return allPages(mems[0]) }
