package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const somebody = "Jo Smith-Ünal <jo@example.org>"

var (
	someDay  = time.Unix(1_700_000_000, 0).UTC()
	someText = []file{
		{"bin/nvlab", []byte("program"), true},
		{"share/man/man1/nvlab.1.gz", []byte("page"), false},
		{"share/doc/nvlab/README.md", []byte("odd"), false},
	}
)

// TestArchivesRepeat: the order of files makes no difference, and neither does when
// they are packed.
func TestArchivesRepeat(t *testing.T) {
	other := []file{someText[2], someText[0], someText[1]}
	for name, pack := range map[string]func([]file) ([]byte, error){
		"archive": func(f []file) ([]byte, error) { return tarGz(under("nvlab_1", f), someDay) },
		"package": func(f []file) ([]byte, error) {
			return deb(control("1.2.0", somebody, "amd64", f), installed(f), someDay)
		},
	} {
		one, err := pack(someText)
		if err != nil {
			t.Fatal(err)
		}
		two, err := pack(other)
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("the %s of the same files in another order differs: %v", name, err)
		}
	}
}

// TestPackage has dpkg read a package.
func TestPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no dpkg-deb")
	}
	b, err := deb(control("1.2.0~rc1", somebody, "arm64", someText), installed(someText), someDay)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "nvlab.deb")
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-f", name, "Package", "Version", "Maintainer", "Architecture", "Installed-Size"}, []string{"Package: nvlab\n", "Version: 1.2.0~rc1\n", "Maintainer: " + somebody + "\n", "Architecture: arm64\n", "Installed-Size: 3\n"}},
		{[]string{"-c", name}, []string{"drwxr-xr-x root/root", " usr/bin/\n", "-rwxr-xr-x root/root         7 2023-11-14 22:13 usr/bin/nvlab\n", "-rw-r--r-- root/root         4 2023-11-14 22:13 usr/share/man/man1/nvlab.1.gz\n"}},
		{[]string{"-I", name, "md5sums"}, []string{"  usr/bin/nvlab\n", "  usr/share/doc/nvlab/README.md\n"}},
	} {
		cmd := exec.Command("dpkg-deb", c.args...)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("dpkg-deb %v: %v\n%s", c.args, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("dpkg-deb %v says\n%s\nwant %q in it", c.args, out, want)
			}
		}
	}
}

// TestProgramsRepeat builds the smaller program in two folders, of which the
// second is a copy: where the sources are makes no difference. That nvlab
// says its version is in the flags of both.
func TestProgramsRepeat(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles twice")
	}
	t.Chdir("..")
	t.Setenv("GOFLAGS", "-ldflags=-X=main.nothing=1")
	b := &builder{version: "1.2.0", work: t.TempDir()}
	one, err := b.build(t.Context(), "linux", "amd64", "./cmd/nvlab-agent")
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), text, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"cmd/nvlab-agent", "guest/agent", "guest/proto"} {
		if err := os.CopyFS(filepath.Join(copied, dir), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(copied)
	b.work = t.TempDir()
	two, err := b.build(t.Context(), "linux", "amd64", "./cmd/nvlab-agent")
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("the agent built of a copy of the sources differs: %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, v := range []string{"", "v1.2", "1.2-1", "1 2", "1/2", "../1"} {
		if err := run(t.Context(), v, somebody, filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), "-version") {
			t.Errorf("version %q: %v, want that it is none", v, err)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if err := run(t.Context(), "1.2.0", somebody, filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH=") {
		t.Errorf("a date that is none: %v", err)
	}
}

// TestMaintainer: who answers for the packages is said, or nobody does.
func TestMaintainer(t *testing.T) {
	for _, test := range []struct{ given, name, address, want string }{
		{somebody, "", "", somebody},
		{somebody, "Other", "other@example.org", somebody},
		{"", "Other One", "other@example.org", "Other One <other@example.org>"},
		{"", "", "", ""}, {"", "Other", "", ""}, {"nvlab", "", "", ""}, {"<jo@example.org>", "", "", ""}, {"Jo <jo>", "", "", ""},
		{"Jo <jo@example.org>\nDepends: x", "", "", ""}, {"Jo\nX <jo@example.org>", "", "", ""}, {"Jo\xff <jo@example.org>", "", "", ""},
	} {
		t.Setenv("DEBFULLNAME", test.name)
		t.Setenv("DEBEMAIL", test.address)
		got, err := maintainer(test.given)
		if got != test.want || (err == nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), "want \"NAME <ADDRESS>\"") {
			t.Errorf("-maintainer %q of %q and %q is %q (error %v), want %q", test.given, test.name, test.address, got, err, test.want)
		}
	}
}

// TestReleasePage: docs/releases.md names each file of a release, each in an archive,
// and each flag; and the links to it lead there.
func TestReleasePage(t *testing.T) {
	text, err := os.ReadFile("../docs/releases.md")
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"SHA256SUMS", "`bin/nvlab`", "`bin/nvlab-agent`", "`share/doc/nvlab`", "-version", "-maintainer", "-o ", "SOURCE_DATE_EPOCH", "DEBFULLNAME", "DEBEMAIL"}
	for name := range words {
		wants = append(wants, "`"+name+"`")
	}
	for _, p := range platforms {
		wants = append(wants, "nvlab_1.2.0_"+p.os+"_"+p.arch+".tar.gz")
		if p.debian != "" {
			wants = append(wants, "nvlab_1.2.0_"+p.debian+".deb")
		}
	}
	for _, want := range wants {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("docs/releases.md does not have %q", want)
		}
	}
	for name, link := range map[string]string{"README.md": "(docs/releases.md)", "CONTRIBUTING.md": "(docs/releases.md)", "docs/ci.md": "(releases.md)"} {
		page, err := os.ReadFile(filepath.Join("..", name))
		if err != nil || !bytes.Contains(page, []byte(link)) {
			t.Errorf("%s has no link to docs/releases.md (error %v)", name, err)
		}
	}
}
