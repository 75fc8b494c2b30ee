package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"testing"

	"nvlab/lab"
	"nvlab/nvdimm/persist"
)

// session boots a guest with an NVDIMM, has it write a file system's worth of
// nothing but five bytes, and cuts the power.
func session(ctx context.Context, dir string, out io.Writer) error {
	l, err := lab.New(lab.Options{Engine: "soft"})
	if err != nil {
		return err
	}
	x := l.Experiment("session", dir)
	defer x.Close()
	disk, err := x.FileBackend(lab.FileBackendOptions{Path: "pmem0.img", Size: 64 << 20, Share: true})
	if err != nil {
		return err
	}
	vm, err := x.VM(lab.VMOptions{Slots: 1, MaxMem: 1 << 30})
	if err != nil {
		return err
	}
	dimm, err := vm.Plug(lab.PlugOptions{Backend: disk, LabelSize: 128 << 10})
	if err != nil {
		return err
	}
	if err := vm.Boot(ctx, 0); err != nil {
		return err
	}
	r, err := vm.Run(ctx, lab.Command{Shell: "ndctl list -R | grep -o region0", Check: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is %s", dimm.ID(), r.Stdout)
	if _, err := vm.Run(ctx, lab.Command{Shell: "printf kept | dd of=/dev/pmem0 oflag=direct bs=4096 conv=sync", Check: true}); err != nil {
		return err
	}
	if err := vm.PowerCut(persist.KeepNone, false); err != nil {
		return err
	}
	data, err := disk.Bytes(0, 4)
	fmt.Fprintf(out, "after a power cut it holds %q, and the VM is %s\n", data, vm.State())
	return err
}

const sessionOutput = `nvdimm0 is region0
after a power cut it holds "kept", and the VM is off
`

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := session(context.Background(), dir, os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// nvdimm0 is region0
	// after a power cut it holds "kept", and the VM is off
}

// TestLibrary runs the example, which -short cannot.
func TestLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a machine")
	}
	var out bytes.Buffer
	if err := session(t.Context(), t.TempDir(), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != sessionOutput {
		t.Errorf("the example prints\n%swant\n%s", &out, sessionOutput)
	}
}

func ExampleClassOf() {
	l, err := lab.New(lab.Options{Engine: "soft"})
	if err != nil {
		log.Fatal(err)
	}
	x := l.Experiment("example", os.TempDir())
	defer x.Close()
	_, err = x.VM(lab.VMOptions{CPUs: 99})
	fmt.Printf("%v error: %v\n", lab.ClassOf(err), err)
	// Output: scenario error: cpus=99: a machine has at most 8
}

// TestClosed: a handle that is used after its experiment says so, whatever is
// called.
func TestClosed(t *testing.T) {
	l, err := lab.New(lab.Options{Engine: "soft"})
	if err != nil {
		t.Fatal(err)
	}
	x := l.Experiment("closed", t.TempDir())
	disk, err := x.FileBackend(lab.FileBackendOptions{Path: "f", Size: 1 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	vm, err := x.VM(lab.VMOptions{Slots: 1, MaxMem: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	dimm, err := vm.Plug(lab.PlugOptions{Backend: disk, LabelSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := disk.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Close(), x.Close()); err != nil {
		t.Fatalf("Close() twice = %v", err)
	}
	second := func(_ any, err error) error { return err }
	ctx := t.Context()
	for name, err := range map[string]error{
		"FileBackend":      second(x.FileBackend(lab.FileBackendOptions{Path: "g", Size: 1 << 20})),
		"RAMBackend":       second(x.RAMBackend(lab.RAMBackendOptions{Size: 1 << 20})),
		"VM":               second(x.VM(lab.VMOptions{})),
		"Plug":             second(vm.Plug(lab.PlugOptions{Backend: disk})),
		"Unplug":           vm.Unplug(dimm),
		"Boot":             vm.Boot(ctx, 0),
		"Run":              second(vm.Run(ctx, lab.Command{Shell: "true"})),
		"Trace":            second(vm.Trace(ctx, lab.Command{Shell: "true"})),
		"ReadFile":         second(vm.ReadFile(ctx, "/")),
		"WriteFile":        vm.WriteFile(ctx, "/x", nil),
		"Wait":             vm.Wait(ctx, 1),
		"PowerOff":         vm.PowerOff(ctx),
		"Reboot":           vm.Reboot(ctx),
		"Kill":             vm.Kill(),
		"PowerCut":         vm.PowerCut(persist.KeepNone, false),
		"PowerCutOn":       vm.PowerCutOn(lab.PowerCut{Event: lab.EventStore, Nth: 1}),
		"Fail":             dimm.Fail(lab.CallFault{Function: 4}),
		"Tear":             dimm.Tear(8, 1),
		"backend.Bytes":    second(disk.Bytes(0, 1)),
		"backend.ReadAt":   second(disk.ReadAt(make([]byte, 1), 0)),
		"backend.Write":    disk.Write(0, nil),
		"backend.SHA256":   second(disk.SHA256(context.Background(), 0, nil)),
		"backend.Snapshot": second(disk.Snapshot(context.Background())),
		"backend.Diff":     second(disk.Diff(context.Background(), snapshot)),
		"backend.Restore":  disk.Restore(context.Background(), snapshot),
		"backend.Labels":   second(disk.Labels(0)),
		"backend.Save":     disk.Save(t.Context(), t.TempDir()+"/saved"),
	} {
		if !errors.Is(err, lab.ErrClosed) {
			t.Errorf("%s after Close() = %v, want ErrClosed", name, err)
		}
	}
}
