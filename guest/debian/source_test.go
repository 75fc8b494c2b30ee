package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"nvlab/guest/internal/fake"
)

// release is a tar file as git archive makes it: a comment first, one folder,
// and names of any length.
func release(t testing.TB, long string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123456789abcdef"}},
		{Typeflag: tar.TypeDir, Name: "tool-2/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "tool-2/test/run.sh", Mode: 0o775, Size: 4},
		{Typeflag: tar.TypeReg, Name: "tool-2/" + long, Mode: 0o644, Size: 4, Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": "x"}},
		{Typeflag: tar.TypeSymlink, Name: "tool-2/link", Linkname: "test"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, "true")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSource(t *testing.T) {
	a, c, _ := mirror(t)
	long := strings.Repeat("n", 300)
	file := fake.Compress(".gz", release(t, long))
	a.AddSource("trixie", "tool", "1-1", "tool_1.orig.tar.gz", []byte("older"))
	a.AddSource("trixie", "tool", "2-1", "tool_2.orig.tar.gz", file)
	a.AddSource("trixie", "native", "3", "native_3.tar.xz", []byte("x"))
	a.Publish("trixie", time.Now())
	x, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if a.Asked("source") > 0 {
		t.Error("the list of source packages is fetched before anybody asks for one")
	}
	for range 2 {
		p, err := x.Source(context.Background(), "tool")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.String()+" "+p.FileName(), "tool=2-1 tool_2-1_source.tar"; got != want {
			t.Errorf("Source(tool) = %q, want %q", got, want)
		}
		if err := x.Download(context.Background(), p, c.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.Asked("source"); n != 1 {
		t.Errorf("the list of source packages was fetched %d times, want once", n)
	}
	if p, err := x.Source(context.Background(), "native"); err != nil || p.Version != "3" {
		t.Errorf("Source(native) = %v, %v, want that of Debian's own", p, err)
	}
	var unknown *UnknownError
	if _, err := x.Source(context.Background(), "tol"); !errors.As(err, &unknown) {
		t.Errorf("Source(tol) = %v, want an UnknownError", err)
	}

	list, err := UnpackSource(bytes.NewReader(file), spoolFile(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		got = append(got, fmt.Sprintf("%s %o", f.Path, f.Mode))
	}
	if want := []string{"test/run.sh 100775", long + " 100644", "link 120000"}; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("UnpackSource has %q, want %q", got, want)
	}
	if b, err := contents(list[1]); err != nil || b != "true" {
		t.Errorf("%.10s... has %q, %v, want what is in the tar file", list[1].Path, b, err)
	}
	if _, err := UnpackSource(strings.NewReader("<html>"), spoolFile(t), nil); err == nil || !strings.Contains(err.Error(), "gzip, bzip2 and xz are known") {
		t.Errorf("UnpackSource of a page = %v, want an error that says what it takes", err)
	}
}

func contents(f *File) (string, error) {
	r, err := f.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestParseSourcesRefuses(t *testing.T) {
	const sum = " 0123456789012345678901234567890123456789012345678901234567890123 "
	for _, tt := range []struct{ in, want string }{
		{"Package: x\nVersion: 1\n", "no tar file"},
		{"Package: x\nVersion: ../1\nChecksums-Sha256:\n" + sum + "1 x_1.orig.tar.gz\n", "proper names"},
		{"Package: x\nVersion: 1\nDirectory: pool/../../etc\nChecksums-Sha256:\n" + sum + "1 x_1.orig.tar.gz\n", "leaves the archive"},
		{"Package: x\nVersion: 1\nChecksums-Sha256:\n" + sum + "1 ../x_1.orig.tar.gz\n", "in file"},
		{"Package: x\nVersion: 1\nChecksums-Sha256:\n" + sum + "-1 x_1.orig.tar.gz\n", "of \"-1\" bytes"},
		{"Package: x\nVersion: 1\nChecksums-Sha256:\n 01 1 x_1.orig.tar.gz\n", "digest \"01\""},
		{"Package: " + strings.Repeat("x", maxStanzaLine) + "\n", "a line of more than"},
	} {
		err := parseSources(strings.NewReader(tt.in), "x", func(Package) {})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseSources(%.80q) = %v, want an error with %q", tt.in, err, tt.want)
		}
	}
}

func FuzzSources(f *testing.F) {
	f.Add("Package: x\nVersion: 1\nDirectory: pool/x\nChecksums-Sha256:\n 0123456789012345678901234567890123456789012345678901234567890123 7 x_1.orig.tar.gz\n\nPackage: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseSources(strings.NewReader(text), "x", func(p Package) {
			if strings.ContainsAny(p.FileName(), "/\\") || strings.Contains("/"+p.path+"/", "/../") || p.Size < 0 || len(p.SHA256) != 64 {
				t.Errorf("parseSources gives %+v, want a file that stays in its folder and has a digest", p)
			}
		})
	})
}
