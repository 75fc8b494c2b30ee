package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"nvlab/internal/held"
)

// TestNothingIsLeft boots and kills 60 machines in one process: 3 to the end
// of their boot, the others to anywhere in it. NVLAB_BOOTS=WHOLE,ALL has other
// numbers; .ci/run has 200.
func TestNothingIsLeft(t *testing.T) {
	bootExperiment(t) // skips with -short, and makes the guest
	l, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	dir, random := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	once := func(whole bool) {
		x := l.Experiment(t.Name(), dir)
		v, _ := labelledVM(t, x)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		switch d := time.Duration(random.Int64N(int64(20 * time.Millisecond))); {
		case whole:
			mustBoot(t, v)
		case random.IntN(2) == 0: // the guest is not given the time
			if err := v.Boot(ctx, d); ClassOf(err) != ClassBoot {
				t.Fatalf("a boot within %v = %v, want a boot error", d, err)
			}
		default: // someone interrupts it
			time.AfterFunc(d, cancel)
			if err := v.Boot(ctx, DefaultTimeout); err == nil {
				t.Fatal("a boot that was interrupted succeeded")
			}
		}
		if random.IntN(2) == 0 && v.State() != Off { // it may have been interrupted before it was on
			if err := v.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		once(i == 0)
	}

	boots, whole := 60, 3
	if text := os.Getenv("NVLAB_BOOTS"); text != "" {
		if _, err := fmt.Sscanf(text, "%d,%d", &whole, &boots); err != nil {
			t.Fatalf("NVLAB_BOOTS=%q: want WHOLE,ALL: %v", text, err)
		}
	}
	before := held.Now(t)
	for i := range boots {
		once(i < whole)
	}
	before.NoMore(t, strconv.Itoa(boots)+" machines")
	t.Logf("%d machines on the engine %s, %d of them booted to the end", boots, l.engine.Name(), whole)
}
