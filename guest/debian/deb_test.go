package debian

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nvlab/guest/internal/fake"
)

func spoolFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// describe lists a package's entries, with the first line of each file.
func describe(t *testing.T, list []*File) []string {
	t.Helper()
	var got []string
	for _, f := range list {
		s := fmt.Sprintf("%o %s", f.Mode, f.Path)
		switch f.Mode & ModeType {
		case ModeSymlink:
			s += " -> " + f.Link
		case ModeRegular:
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			s += fmt.Sprintf(" %d %.20q", f.Size, b)
		}
		got = append(got, s)
	}
	return got
}

func TestUnpack(t *testing.T) {
	long := strings.Repeat("long/", 40) + "name"
	for _, ext := range []string{"", ".gz", ".zst"} {
		deb := fake.Deb(ext,
			fake.File{Name: "usr/"}, fake.File{Name: "usr/bin/"},
			fake.File{Name: "usr/bin/tool", Data: []byte("program")},
			fake.File{Name: "usr/bin/again", Hard: "usr/bin/tool"},
			fake.File{Name: "usr/bin/link", Link: "tool"},
			fake.File{Name: long, Data: bytes.Repeat([]byte("x"), 1000), Mode: 0o4644},
			fake.File{Name: "linked", Link: "/" + long},
		)
		taken := 0
		got, err := Unpack(bytes.NewReader(deb), spoolFile(t), func(n int) { taken += n })
		if err != nil {
			t.Errorf("Unpack of data.tar%s = %v, want nil", ext, err)
			continue
		}
		want := []string{
			"40755 usr", "40755 usr/bin",
			`100755 usr/bin/tool 7 "program"`,
			`100755 usr/bin/again 7 "program"`,
			"120755 usr/bin/link -> tool",
			"104644 " + long + ` 1000 "xxxxxxxxxxxxxxxxxxxx"`,
			"120755 linked -> /" + long,
		}
		if d := describe(t, got); !reflect.DeepEqual(d, want) {
			t.Errorf("Unpack of data.tar%s = %q, want %q", ext, d, want)
		}
		if taken != len(deb) {
			t.Errorf("Unpack of data.tar%s told of %d bytes, want %d", ext, taken, len(deb))
		}
	}
}

// testdata/tiny-xz.deb was made by dpkg-deb, whose default is xz.
func TestUnpackXZ(t *testing.T) {
	f, err := os.Open("testdata/tiny-xz.deb")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Unpack(f, spoolFile(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"40755 usr", "40755 usr/share", "40755 usr/share/tiny", `100644 usr/share/tiny/file 14 "hello from xz\n"`, "120777 usr/share/tiny/link -> file"}
	if d := describe(t, got); !reflect.DeepEqual(d, want) {
		t.Errorf("Unpack = %q, want %q", d, want)
	}
}

func TestUnpackRefuses(t *testing.T) {
	good := fake.Deb(".gz", fake.File{Name: "a", Data: bytes.Repeat([]byte("a"), 5000)})
	plain := fake.Deb("", fake.File{Name: "a", Data: bytes.Repeat([]byte("a"), 5000)})
	oddType := fake.Tar(fake.File{Name: "a"})
	oddType[156] = '3' // a character device; the checksum is wrong too
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "no ar archive"},
		{"html", []byte("<html>404 not found</html>"), "no ar archive"},
		{"cut in the data", good[:len(good)-40], "data.tar.gz"},
		{"cut in a plain tar", plain[:len(plain)-6000], "cut off"},
		{"cut in a header", good[:100], "cut off"},
		{"no data", fake.Ar("debian-binary", []byte("2.0\n")), "no data.tar"},
		{"other archive", fake.Ar("lib.o", []byte("x")), "debian-binary"},
		{"negative size", bytes.Replace(good, []byte("4         `"), []byte("-4        `"), 1), "ar member of size"},
		{"leaves the package", fake.Deb("", fake.File{Name: "../../etc/passwd", Data: []byte("x")}), "leaves the package"},
		{"link to nothing", fake.Deb("", fake.File{Name: "a", Hard: "b"}), "no file before it"},
		{"link out", fake.Deb("", fake.File{Name: "a", Hard: "../b"}), "leaves the package"},
		{"wrong checksum", fake.Ar("debian-binary", []byte("2.0\n"), "data.tar", oddType), "checksum"},
		{"no tar", fake.Ar("debian-binary", []byte("2.0\n"), "data.tar", bytes.Repeat([]byte("x"), 1024)), "checksum"},
	} {
		_, err := Unpack(bytes.NewReader(tt.in), spoolFile(t), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Unpack = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestUnpackLimit(t *testing.T) {
	deb := fake.Deb(".gz", fake.File{Name: "zeros", Data: make([]byte, 1<<20)})
	err := spoolData(bytes.NewReader(deb), io.Discard, 1000, nil)
	if err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") {
		t.Errorf("unpacking 1 MiB with a limit of 1000 = %v, want an error that says so", err)
	}
}

func FuzzDeb(f *testing.F) {
	for _, ext := range []string{"", ".gz", ".zst"} {
		f.Add(fake.Deb(ext, fake.File{Name: "usr/bin/tool", Data: []byte("program")}, fake.File{Name: "l", Link: "x"}))
	}
	if b, err := os.ReadFile("testdata/tiny-xz.deb"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var spool bytes.Buffer
		if err := spoolData(bytes.NewReader(b), &spool, 1<<20, nil); err != nil {
			return
		}
		checkTar(t, spool.Bytes())
	})
}

func FuzzTar(f *testing.F) {
	f.Add(fake.Tar(fake.File{Name: "usr/bin/"}, fake.File{Name: "a", Data: []byte("data")}, fake.File{Name: "b", Hard: "a"}))
	f.Add(fake.Tar(fake.File{Name: strings.Repeat("n", 200), Link: strings.Repeat("l", 200)}))
	f.Add(release(f, strings.Repeat("n", 300)))
	f.Fuzz(func(t *testing.T, b []byte) { checkTar(t, b) })
}

// checkTar lists a tar file and reads every entry.
func checkTar(t *testing.T, b []byte) {
	list, err := listTar(bytes.NewReader(b))
	if err != nil {
		return
	}
	for _, e := range list {
		if strings.HasPrefix(e.Path, "/") || strings.Contains("/"+e.Path+"/", "/../") {
			t.Errorf("path %q leaves the package", e.Path)
		}
		if e.Mode&ModeType != ModeRegular {
			continue
		}
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != e.Size {
			t.Errorf("file %q has %d bytes, %v, want %d", e.Path, n, err, e.Size)
		}
	}
}
