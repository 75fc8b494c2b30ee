package rootfs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
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

func TestOpenCPIO(t *testing.T) {
	var b bytes.Buffer
	if err := small(t).WriteCPIO(&b); err != nil {
		t.Fatal(err)
	}
	archive := bytes.NewReader(b.Bytes())
	list, err := ListCPIO(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range list {
		f, err := OpenCPIO(archive, archive.Size(), e.Path)
		if e.Mode&ModeType != ModeRegular {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, no regular file, is opened: %v", e.Path, err)
			}
			continue
		}
		files++
		if err != nil || f.Size() != e.Size {
			t.Errorf("%s of %d bytes: %v, %v", e.Path, e.Size, f, err)
			continue
		}
		got, _ := io.ReadAll(f)
		r, _ := small(t).Get(e.Path).Content.Open()
		if want, _ := io.ReadAll(r); !bytes.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", e.Path, got, want)
		}
	}
	if files == 0 {
		t.Error("the archive has no file")
	}
	if _, err := OpenCPIO(archive, archive.Size(), "no/such/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, broken := range [][]byte{b.Bytes()[:200], []byte(strings.Repeat("7", 300)), []byte("070701" + strings.Repeat("f", 300))} {
		if _, err := OpenCPIO(bytes.NewReader(broken), int64(len(broken)), "etc/zzz"); err == nil {
			t.Errorf("a broken archive of %d bytes has any file", len(broken))
		}
	}
}
