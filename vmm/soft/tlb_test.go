package soft

import (
	"encoding/binary"
	"testing"
	"time"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

// TestTwoPagesOneEntry has instructions read one page and write another whose
// translations share an entry of the TLB, so that each evicts the other's.
func TestTwoPagesOneEntry(t *testing.T) {
	const there = testData + abi.TLBSize*x86.PageSize
	tests := []struct {
		name string
		code []byte
	}{
		{"push [rdx]", []byte{0xff, 0x32, 0xf4}},
		{"call [rdx]", []byte{0xff, 0x12}},
		{"movsq", []byte{0x48, 0xa5, 0xf4}},
		{"pop [rdx]", []byte{0x8f, 0x02, 0xf4}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stuck := time.AfterFunc(20*time.Second, func() { panic(test.name + " does not end") })
			defer stuck.Stop()
			m := newTestMachine(t)
			m.put(testCode, test.code...)
			m.put(testCode+0x100, 0xf4)
			m.mapPage(there, testData+x86.PageSize, pteP|pteW)
			binary.LittleEndian.PutUint64(m.ram[testData:], testCode+0x100)
			binary.LittleEndian.PutUint64(m.ram[testData+x86.PageSize+0x800:], 0x1122334455667788)
			for range 200 { // often enough to be compiled
				m.start(testCode)
				m.c.r[x86.RDX], m.c.r[x86.RSI], m.c.r[x86.RDI], m.c.r[x86.RSP] = testData, testData, there, there+0x800
				m.run()
			}
			if rip := m.c.rip; rip != testCode+uint64(len(test.code)) && rip != testCode+0x101 {
				t.Errorf("%s ended at %#x", test.name, rip)
			}
		})
	}
}
