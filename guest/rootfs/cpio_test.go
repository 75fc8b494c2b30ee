package rootfs

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func small(t *testing.T) *Tree {
	t.Helper()
	tr := &Tree{nodes: map[string]*Node{}}
	for _, err := range []error{
		tr.AddFile("etc/motd", 0o644, []byte("hello")),
		tr.AddFile("etc/empty", 0o600, nil),
		tr.AddLink("etc/link", "motd"),
		tr.AddDir("tmp", 0o1777),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func TestWriteCPIOGolden(t *testing.T) {
	var b bytes.Buffer
	if err := small(t).WriteCPIO(&b); err != nil {
		t.Fatal(err)
	}
	got := hex.Dump(b.Bytes())
	golden := filepath.Join("testdata", "small.cpio.hex")
	if os.Getenv("NVLAB_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("WriteCPIO(small) =\n%swant\n%s", got, want)
	}
}

func TestCPIOReadsBack(t *testing.T) {
	var b bytes.Buffer
	if err := small(t).WriteCPIO(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 {
		t.Errorf("WriteCPIO wrote %d bytes, want a multiple of 4", b.Len())
	}
	b.Write(make([]byte, 512))
	if err := WriteInit(&b, []byte("program")); err != nil {
		t.Fatal(err)
	}
	got, err := ListCPIO(&b)
	want := []Entry{
		{"etc", ModeDir | 0o755, 0, ""},
		{"etc/empty", ModeRegular | 0o600, 0, ""},
		{"etc/link", ModeSymlink | 0o777, 0, "motd"},
		{"etc/motd", ModeRegular | 0o644, 5, ""},
		{"tmp", ModeDir | 0o1777, 0, ""},
		{"init", ModeRegular | 0o755, 7, ""},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ListCPIO = %+v, %v, want %+v", got, err, want)
	}
}

// The system's cpio is the judge where there is one.
func TestCPIOSuitsTheSystem(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio on this host")
	}
	var b bytes.Buffer
	if err := small(t).WriteCPIO(&b); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-it", "--quiet")
	cmd.Stdin = &b
	out, err := cmd.CombinedOutput()
	if want := "etc\netc/empty\netc/link\netc/motd\ntmp\n"; err != nil || string(out) != want {
		t.Errorf("cpio -it = %q, %v, want %q", out, err, want)
	}
}

type wrongSize struct{}

func (wrongSize) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abc")), nil }

// failingWriter accepts so many bytes.
type failingWriter int

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > int(*w) {
		n := int(*w)
		*w = 0
		return n, io.ErrShortWrite
	}
	*w -= failingWriter(len(p))
	return len(p), nil
}

func TestWriteCPIOReportsEveryFailure(t *testing.T) {
	tr := small(t)
	var whole bytes.Buffer
	if err := tr.WriteCPIO(&whole); err != nil {
		t.Fatal(err)
	}
	for n := range whole.Len() {
		w := failingWriter(n)
		if err := tr.WriteCPIO(&w); err == nil {
			t.Fatalf("WriteCPIO with room for %d of %d bytes = nil, want an error", n, whole.Len())
		}
	}
	tr.Add("grown", Node{Mode: ModeRegular, Size: 2, Content: wrongSize{}})
	if err := tr.WriteCPIO(io.Discard); err == nil {
		t.Error("WriteCPIO of a file that grew = nil, want an error")
	}
	tr.Add("grown", Node{Mode: ModeRegular, Size: 4, Content: wrongSize{}})
	if err := tr.WriteCPIO(io.Discard); err == nil {
		t.Error("WriteCPIO of a file that shrank = nil, want an error")
	}
}

func FuzzCpio(f *testing.F) {
	var b bytes.Buffer
	tr := NewTree()
	tr.AddFile("etc/motd", 0o644, []byte("hello"))
	if err := tr.WriteCPIO(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("070701"))
	f.Add(make([]byte, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ListCPIO(bytes.NewReader(b))
		if err == nil && len(list) > len(b)/110 {
			t.Fatalf("%d entries from %d bytes", len(list), len(b))
		}
	})
}
