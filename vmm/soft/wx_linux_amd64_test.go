package soft

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"nvlab/vmm/soft/x86"
)

// TestCodeIsNeverWritable looks at the process's memory while compiled code
// runs and more is being compiled: none of it may be writable and executable.
func TestCodeIsNeverWritable(t *testing.T) {
	m := newCompiled(t)
	m.stubs()
	m.put(testCode, loops[0].code...)
	m.c.r[x86.RBX] = 1 << 60
	stop := make(chan bool)
	ended := make(chan error)
	go func() {
		for at := time.Duration(0); ; at += time.Millisecond {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			m.p.dropCode() // the loop is compiled anew
			if _, err := m.p.Run(t.Context(), at); err != nil {
				<-stop
				ended <- err
				return
			}
		}
	}()
	views := map[string]bool{}
	for range 200 {
		if err := codeMappings(views); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if s := m.p.cache.native.Stats(); s.Entries == 0 {
		t.Error("no compiled code ran meanwhile")
	}
	if !views["rw-s"] || !views["r-xs"] || len(views) != 2 {
		t.Errorf("memory with code is mapped %v, want one view rw-s and one r-xs", views)
	}
}

// codeMappings adds the permissions of the mappings of code to views. The error
// names a mapping of any kind that is writable and executable. proc(5).
func codeMappings(views map[string]bool) error {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		word := strings.Fields(s.Text())
		if len(word) < 2 {
			continue
		}
		if strings.HasPrefix(word[0], fmt.Sprintf("%08x-", oracleCode)) {
			continue // the native oracle's, which stays for as long as the process
		}
		if strings.Contains(word[1], "w") && strings.Contains(word[1], "x") {
			return fmt.Errorf("the mapping %q is writable and executable", s.Text())
		}
		if strings.Contains(s.Text(), "memfd:nvlab-code") {
			views[word[1]] = true
		}
	}
	return s.Err()
}
