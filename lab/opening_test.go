package lab

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// TestOpening: an execution that goes on from the opening is the one from the very
// beginning: what it reads, what the VM is at its end, and its answer.
func TestOpening(t *testing.T) {
	_, v := exploredVM(t)
	trace, err := v.Trace(t.Context(), Command{Shell: "mv /mnt/a /mnt/b && sync"})
	if err != nil {
		t.Fatal(err)
	}
	// At the end of an answer is what the VM is then.
	ending := func(v *VM, answer string) (string, error) {
		s, err := v.Snapshot()
		if err != nil {
			return "", err
		}
		id, err := s.ID()
		return fmt.Sprintf("%s, at %v: %s", answer, v.Clock(), id), err
	}
	runs := func(command string) Recovery {
		return func(ctx context.Context, state string, v *VM) (string, error) {
			is, err := says(command)(ctx, state, v)
			if err != nil {
				return "", err
			}
			return ending(v, is)
		}
	}
	n := 0
	for _, c := range []struct {
		name     string
		recovery Recovery
		opens    time.Duration // at least; 0 for no opening
	}{
		{"mounts", runs("mount -t ext4 -o dax /dev/pmem0 /mnt && cat /mnt/a; umount /mnt"), time.Millisecond},
		{"stores first", runs("dd if=/dev/zero of=/dev/pmem0 bs=1M count=16 oflag=direct 2>/dev/null; mount -t ext4 -o dax /dev/pmem0 /mnt"), time.Millisecond},
		{"fails", runs("mount -t ext4 -o dax /dev/pmem0 /mnt && false"), time.Millisecond},
		{"looks at the clock before", func(ctx context.Context, state string, v *VM) (string, error) {
			if err := v.Settle(); err != nil {
				return "", err
			}
			return runs(fmt.Sprintf("echo %v; mount -t ext4 -o dax /dev/pmem0 /mnt", v.Clock()))(ctx, state, v)
		}, 0},
		{"begins otherwise each time", func(ctx context.Context, state string, v *VM) (string, error) {
			n++
			return runs(fmt.Sprintf("echo %d; mount -t ext4 -o dax /dev/pmem0 /mnt", n/2))(ctx, state, v)
		}, time.Millisecond},
		{"never runs its guest", func(ctx context.Context, state string, v *VM) (string, error) { return ending(v, "") }, 0},
		{"asks for a file", func(ctx context.Context, state string, v *VM) (string, error) {
			b, err := v.ReadFile(ctx, "/dev/pmem0")
			if err != nil {
				return "", err
			}
			return ending(v, fmt.Sprint(len(b)))
		}, 100 * time.Microsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := ExploreOptions{Depth: 1}
			x := trace.explorer(t.Context(), &o, c.recovery)
			defer x.end()
			if err := x.prepare(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			x.opens = true
			n = 0
			var made *opening
			for k := range 3 {
				s, err := x.space.State(x.space.Points()*k/3, k%2 == 1)
				if err != nil {
					t.Fatal(err)
				}
				whole, err := x.run(t.Context(), s) // the first makes the opening
				if err != nil {
					t.Fatal(err)
				}
				if k == 0 {
					made = x.opening
				}
				x.opening = made
				if k > 0 {
					x.opening = nil
					if whole, err = x.run(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					x.opening = made
				}
				n = 2 * (n / 2)
				opened, err := x.run(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(opened, whole) {
					t.Errorf("from the opening the execution of %s reads %d lines and answers %q, from the beginning %d and %q",
						s.ID(), len(opened.Reads), opened.Answer, len(whole.Reads), whole.Answer)
				}
			}
			switch {
			case made == nil && c.opens > 0:
				t.Errorf("the recovery has no opening, want one of %v at least", c.opens)
			case made != nil && (c.opens == 0 || made.spent < c.opens):
				t.Errorf("the recovery has an opening of %v, want one of %v at least, 0 being none", made.spent, c.opens)
			}
		})
	}
}
