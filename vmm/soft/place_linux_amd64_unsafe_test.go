package soft

import (
	"bytes"
	"os"
	"reflect"
	"runtime"
	"testing"
	"unsafe"
)

// TestDispatchPlace finds the jump of the fast path's switch and checks that
// what comes before it, from the load of the opcode on, lies in the same 32
// bytes. A compiler may move it, so this is for who looks at speed.
func TestDispatchPlace(t *testing.T) {
	if os.Getenv("NVLAB_PERF") == "" {
		t.Skip("NVLAB_PERF is not set")
	}
	entry := runtime.FuncForPC(reflect.ValueOf((*cpu).fast).Pointer()).Entry()
	var null unsafe.Pointer
	code := unsafe.Slice((*byte)(unsafe.Add(null, entry)), 4096)
	jump := bytes.Index(code, []byte{0x42, 0xff, 0x24}) // jmp [reg+r*8]
	if jump < 0 {
		t.Fatal("no indirect jump near the start of the fast path")
	}
	const dispatch = 22
	first, last := jump+4-dispatch, jump+3
	if first/32 != last/32 {
		t.Errorf("the dispatch is at bytes %d to %d of the function, across a multiple of 32: pad before it in fast.tmpl", first, last)
	}
}
