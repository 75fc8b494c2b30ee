package guest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/guest/debian"
	"nvlab/guest/internal/fake"
)

// localDeb writes a package to a file. control are lines of its control file.
func localDeb(t *testing.T, file, control string, files ...fake.File) string {
	t.Helper()
	files = append(files, fake.File{Name: "DEBIAN/control", Data: []byte(control + "\n")})
	if err := os.WriteFile(file, fake.Deb(".gz", files...), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLocalPackages: files that are packages are in a guest with what they
// depend on, and come before the archive's of their names, also where every
// guest has those.
func TestLocalPackages(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	dir := t.TempDir()
	tool := localDeb(t, dir+"/tool.deb", "Package: tool\nVersion: 1:2.0\nArchitecture: all\nDepends: fio, libtool-own",
		fake.File{Name: "usr/bin/tool", Data: fake.Program("libfio.so.1")})
	lib := localDeb(t, dir+"/lib.deb", "Package: libtool-own\nVersion: 2.0\nArchitecture: amd64",
		fake.File{Name: "usr/share/tool/data", Data: []byte("data")})
	ndctl := localDeb(t, dir+"/ndctl.deb", "Package: ndctl\nVersion: 99\nArchitecture: amd64\nDepends: libc6, libndctl6",
		fake.File{Name: "usr/bin/ndctl", Data: append(fake.Program("libndctl.so.6", "libc.so.6"), "of one's own"...)})
	spec := Spec{Packages: []string{tool, lib, ndctl}}
	im := ensure(t, s, spec)
	got := paths(t, im.BaseInitrd)
	for _, want := range []string{"usr/bin/tool", "usr/share/tool/data", "usr/bin/fio", "usr/bin/ndctl", "usr/lib/x86_64-linux-gnu/libndctl.so.6"} {
		if _, ok := got[want]; !ok {
			t.Errorf("the guest of %s lacks %s", spec, want)
		}
	}
	for _, p := range im.Manifest.Packages {
		if p.Name == "ndctl" && p.Version != "99" {
			t.Errorf("the guest has %s as well as the file of that name", p)
		}
	}
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian")
	moved := filepath.Join(t.TempDir(), "moved.deb")
	if err := os.Rename(tool, moved); err != nil {
		t.Fatal(err)
	}
	if again := ensure(t, s, Spec{Packages: []string{ndctl, moved, lib}}); again.Name != im.Name {
		t.Errorf("with a file elsewhere the guest is %s, want %s", again.Name, im.Name)
	}
}

// TestLocalPackageChanges: a file that changes is another package, though its
// version is the same.
func TestLocalPackageChanges(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	file := t.TempDir() + "/tool.deb"
	var names []string
	for _, data := range []string{"first", "second"} {
		localDeb(t, file, "Package: tool\nVersion: 1\nArchitecture: amd64", fake.File{Name: "usr/share/" + data, Data: []byte("x")})
		im := ensure(t, s, Spec{Packages: []string{file}})
		if e := paths(t, im.BaseInitrd)["usr/share/"+data]; e.Path == "" {
			t.Errorf("the guest of a package that was made again has no /usr/share/%s", data)
		}
		names = append(names, im.Name)
	}
	if names[0] == names[1] || !strings.HasPrefix(names[0], testRelease+"+tool=1@") {
		t.Errorf("two files of one version make the guests %q, want two with a digest in their names", names)
	}
}

func TestLocalPackageErrors(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	dir := t.TempDir()
	text := dir + "/text.deb"
	if err := os.WriteFile(text, []byte("no package"), 0o644); err != nil {
		t.Fatal(err)
	}
	one := localDeb(t, dir+"/one.deb", "Package: tool\nVersion: 1\nArchitecture: amd64")
	two := localDeb(t, dir+"/two.deb", "Package: tool\nVersion: 2\nArchitecture: amd64")
	for _, tt := range []struct {
		packages []string
		want     string
	}{
		{[]string{dir + "/none.deb"}, "no such file"},
		{[]string{dir + "/"}, "is a folder"},
		{[]string{"/dev/zero"}, "no regular file"},
		{[]string{text}, "not a Debian package: no ar archive"},
		{[]string{one, two}, "are both package tool: give one of them"},
		{[]string{localDeb(t, dir+"/arm.deb", "Package: tool\nVersion: 1\nArchitecture: arm64")}, "tool=1 is for arm64: guests are amd64"},
		{[]string{localDeb(t, dir+"/up.deb", "Package: ../up\nVersion: 1\nArchitecture: all")}, "not all are proper names"},
		{[]string{localDeb(t, dir+"/empty.deb", "")}, "has 0 stanzas, want one"},
		{[]string{localDeb(t, dir+"/needs.deb", "Package: tool\nVersion: 1\nArchitecture: all\nDepends: absent")}, "it depends on absent"},
		{[]string{"tool.deb"}, "the path of a file holds a slash: ./tool.deb"},
	} {
		_, err := s.Ensure(context.Background(), Spec{Packages: tt.packages}, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a guest of %q = %v, want %q in it", tt.packages, err, tt.want)
			continue
		}
		if isFile(tt.packages[0]) && tt.want != "it depends on absent" && !Mistaken(err) {
			t.Errorf("a guest of %q = %v, which is not told as a mistake", tt.packages, err)
		}
	}
}
