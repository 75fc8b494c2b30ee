package native

import (
	"runtime"
	"testing"
)

// TestCatchesOneThread has another goroutine dereference nil while a thread
// waits for exceptions of any code: the runtime must get that one.
func TestCatchesOneThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := Catch(0, ^uint64(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	recovered := make(chan any)
	ready := make(chan bool)
	go func() { // on another thread: this one is locked
		defer func() { recovered <- recover() }()
		var p *int
		<-ready
		*p++
	}()
	c.Arm(^uint64(0)) // the process ends in a jump there
	close(ready)
	got := <-recovered
	if f := c.Fault(); f.Vector >= 0 || got == nil {
		t.Errorf("another thread's exception: caught as %+v, and the runtime has %v; want it to be the runtime's", f, got)
	}
}
