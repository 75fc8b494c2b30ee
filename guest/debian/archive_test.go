package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/guest/internal/fake"
)

// collected remembers what a Progress is told.
type collected struct{ notes []string }

func (*collected) Phase(string, int64) {}
func (*collected) Add(int64)           {}
func (c *collected) Note(s string)     { c.notes = append(c.notes, s) }

// mirror serves an archive with one package of trixie.
func mirror(t *testing.T) (*fake.Archive, Config, *collected) {
	t.Helper()
	a := fake.NewArchive()
	a.Add("trixie", "tool", "1", fake.Deb(".gz", fake.File{Name: "tool", Data: []byte("x")}))
	a.Publish("trixie", time.Now())
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	told := &collected{}
	return a, Config{
		Release: "trixie", Dir: t.TempDir(), Keys: Keyring{a.Key}, Progress: told,
		Mirrors: &Mirrors{Main: []string{s.URL + "/debian"}, Security: []string{s.URL + "/debian-security"}},
	}, told
}

func TestDebianKeyring(t *testing.T) {
	keys, err := DebianKeyring()
	if err != nil || len(keys) < 9 {
		t.Fatalf("DebianKeyring() = %d keys, %v, want those of three releases", len(keys), err)
	}
	var all []string
	for _, k := range keys {
		for name := range k.Identities {
			all = append(all, name)
		}
	}
	for _, want := range []string{"Archive Automatic Signing Key (11/bullseye)", "Security Archive Automatic Signing Key (12/bookworm)", "Stable Release Key (13/trixie)"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("the keyring lacks Debian's %s", want)
		}
	}
}

func TestOnlySignedListsCount(t *testing.T) {
	const at = "/debian/dists/trixie/"
	for _, tt := range []struct {
		name string
		harm func(a *fake.Archive)
		want string
	}{
		{"another key", func(a *fake.Archive) { a.Key = fake.NewKey(time.Now(), 0); a.Publish("trixie", time.Now()) }, "not signed by any key"},
		{"no signature", func(a *fake.Archive) { a.Put(at+"InRelease", []byte("Codename: trixie\n")) }, "no clear-signed text"},
		{"a changed line", func(a *fake.Archive) {
			a.Put(at+"InRelease", bytes.Replace(a.Get(at+"InRelease"), []byte("Origin: Test"), []byte("Origin: Tset"), 1))
		}, "not signed by any key"},
		{"another suite's", func(a *fake.Archive) {
			a.Publish("sid", time.Now())
			a.Put(at+"InRelease", a.Get("/debian/dists/sid/InRelease"))
		}, `it is of "sid"`},
		{"lines outside the signed text", func(a *fake.Archive) {
			a.Put(at+"InRelease", []byte("SHA256:\n 00 0 x\n"+string(a.Get(at+"InRelease"))+"Codename: sid\n"))
		}, ""},
		{"an endless file", func(a *fake.Archive) { a.Put(at+"InRelease", make([]byte, maxRelease+1)) }, "more than"},
		{"a list that was changed", func(a *fake.Archive) {
			for _, p := range a.Log() {
				if strings.Contains(p, "by-hash") {
					a.Put(p, bytes.Repeat([]byte("x"), len(a.Get(p))))
				}
			}
		}, "SHA256"},
		{"a list that is gone", func(a *fake.Archive) {
			for _, p := range a.Log() {
				if strings.Contains(p, "by-hash") {
					a.Put(p, nil)
				}
			}
		}, "404"},
		{"a list that unpacks to more", func(a *fake.Archive) {
			a.PublishList("trixie", time.Now(), nil) // says 0 bytes
			text, _, _ := strings.Cut(string(a.Get(at+"InRelease")), "-----BEGIN PGP SIGNATURE")
			_, text, _ = strings.Cut(text, "\n\n")
			packed := fake.Compress(".gz", bytes.Repeat([]byte("Package: x\nVersion: 1\nArchitecture: all\n\n"), 1000))
			i := strings.Index(text, "SHA256:")
			text = text[:i] + fmt.Sprintf("SHA256:\n %x 100 main/binary-amd64/Packages\n %x %d main/binary-amd64/Packages.gz\n", fake.Sum(nil), fake.Sum(packed), len(packed))
			a.Put(at+"InRelease", fake.Sign(a.Key, text, time.Now()))
			a.Put(at+"main/binary-amd64/Packages.gz", packed)
		}, "more than the 100 bytes"},
		{"a huge list", func(a *fake.Archive) {
			text := fmt.Sprintf("Codename: trixie\nDate: %s\nSHA256:\n %064x %d main/binary-amd64/Packages.xz\n", time.Now().UTC().Format(time.RFC1123), 1, int64(1)<<40)
			a.Put(at+"InRelease", fake.Sign(a.Key, text, time.Now()))
		}, "a package list of 1099511627776 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, c, _ := mirror(t)
			x, err := Open(context.Background(), c) // so that the log tells the list's name
			if err != nil {
				t.Fatal(err)
			}
			x.Close()
			tt.harm(a)
			c.Dir = t.TempDir()
			x, err = Open(context.Background(), c)
			if tt.want == "" {
				if err != nil {
					t.Errorf("Open = %v, want nil: only the signed text counts", err)
				} else if _, err := x.Find("tool"); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
		})
	}
}

func TestOldReleases(t *testing.T) {
	day := 24 * time.Hour
	a, c, told := mirror(t)
	a.Publish("trixie", time.Now().Add(-30*day), "Valid-Until: "+time.Now().Add(-23*day).UTC().Format(time.RFC1123))
	if _, err := Open(context.Background(), c); err != nil || !strings.Contains(strings.Join(told.notes, "\n"), "was good until") {
		t.Errorf("Open of a release past its date = %v, notes %q, want a warning", err, told.notes)
	}
	// A mirror that goes back in time is not believed.
	told.notes = nil
	a.Publish("trixie", time.Now().Add(-60*day))
	if _, err := Open(context.Background(), c); err != nil || !strings.Contains(strings.Join(told.notes, "\n"), "is older") {
		t.Errorf("Open of an older release than before = %v, notes %q, want a warning", err, told.notes)
	}
	// An archive that is closed outlives its keys.
	told.notes = nil
	a.Key = fake.NewKey(time.Now().Add(-90*day), 30*day)
	a.Publish("trixie", time.Now().Add(-80*day))
	c.Keys, c.Dir = Keyring{a.Key}, t.TempDir()
	if _, err := Open(context.Background(), c); err != nil || !strings.Contains(strings.Join(told.notes, "\n"), "a key that has expired since") {
		t.Errorf("Open of a release of an expired key = %v, notes %q, want a warning", err, told.notes)
	}
	// What an expired key signs later is nobody's.
	a.Publish("trixie", time.Now().Add(-time.Hour))
	c.Dir = t.TempDir()
	if _, err := Open(context.Background(), c); !errors.Is(err, ErrUntrusted) {
		t.Errorf("Open of what a key signed after it expired = %v, want ErrUntrusted", err)
	}
}

func TestSecondMirror(t *testing.T) {
	_, c, _ := mirror(t)
	c.Mirrors.Main = append([]string{"http://127.0.0.1:1/debian"}, c.Mirrors.Main...)
	x, err := Open(context.Background(), c)
	if err != nil {
		t.Fatalf("Open with a first mirror that is dead = %v, want what the second has", err)
	}
	p, err := x.Find("tool")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := x.Download(context.Background(), p, dir); err != nil {
		t.Fatal(err)
	}
	if list := Missing([]Package{p}, dir); len(list) > 0 {
		t.Errorf("Missing = %v after a download, want none", list)
	}
}

func TestStalledDownload(t *testing.T) {
	defer func(d time.Duration) { stalledAfter = d }(stalledAfter)
	stalledAfter = 50 * time.Millisecond
	s := httptest.NewServer(fake.Stalls())
	defer s.Close()
	f := newFetcher(&Mirrors{})
	_, err := f.get(context.Background(), s.URL+"/x", 100)
	var fetch *FetchError
	if !errors.As(err, &fetch) || !strings.Contains(err.Error(), "nothing came") {
		t.Errorf("get of what stalls = %v, want a FetchError that says so", err)
	}
}

func TestAptSources(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sources.list": "# deb http://commented.example/debian trixie main\ndeb [arch=amd64 signed-by=/x] http://mirror.example/debian/ trixie main contrib\n" +
			"deb-src http://source.example/debian trixie main\ndeb http://sec.example/debian-security trixie-security main\ndeb cdrom:[x]/ trixie main\n",
		"sources.list.d/debian.sources": "Types: deb deb-src\n# a comment\nURIs: https://one.example/debian\n http://two.example/debian\nSuites: stable stable-updates\nComponents: main\n\n" +
			"Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: stable\nComponents: main\n",
		"sources.list.d/other.list": "deb https://docker.example/linux/debian trixie stable\ndeb http://ubuntu.example/ubuntu noble main\ndeb http://flat.example ./\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	main, security := aptSources(dir)
	if got, want := strings.Join(main, " "), "http://mirror.example/debian https://one.example/debian http://two.example/debian"; got != want {
		t.Errorf("mirrors = %s, want %s", got, want)
	}
	if got, want := strings.Join(security, " "), "http://sec.example/debian-security"; got != want {
		t.Errorf("mirrors of security updates = %s, want %s", got, want)
	}
}

func TestMirrorVariable(t *testing.T) {
	for _, tt := range []struct{ text, main, security, err string }{
		{"http://m.example/debian/", "http://m.example/debian", "http://m.example/debian-security", ""},
		{"file:///srv/debian http://s.example/x", "file:///srv/debian", "http://s.example/x", ""},
		{"m.example/debian", "", "", "no URL of a mirror"},
		{"ftp://m.example/debian", "", "", "no URL of a mirror"},
		{"http://a http://b http://c", "", "", "want one URL, or two"},
	} {
		t.Setenv(MirrorVariable, tt.text)
		m, err := HostMirrors(context.Background())
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s=%q gives %v, want an error with %q", MirrorVariable, tt.text, err, tt.err)
			}
			continue
		}
		if err != nil || m.Main[0] != tt.main || m.Security[0] != tt.security {
			t.Errorf("%s=%q gives %+v, %v, want %s and %s", MirrorVariable, tt.text, m, err, tt.main, tt.security)
		}
	}
}

func TestHostRelease(t *testing.T) {
	defer func(s string) { osRelease = s }(osRelease)
	for text, want := range map[string]string{
		"ID=debian\nVERSION_CODENAME=bookworm\n":            "bookworm",
		"ID=debian\nVERSION_CODENAME=\"forky\"\n":           "forky",
		"ID=debian\nVERSION_CODENAME=buster\n":              Stable,
		"ID=ubuntu\nVERSION_CODENAME=noble\nID_LIKE=debian": Stable,
		"": Stable,
	} {
		osRelease = filepath.Join(t.TempDir(), "os-release")
		if err := os.WriteFile(osRelease, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := HostRelease(); got != want {
			t.Errorf("HostRelease() with %q = %s, want %s", text, got, want)
		}
	}
	osRelease = filepath.Join(t.TempDir(), "absent")
	if got := HostRelease(); got != Stable {
		t.Errorf("HostRelease() without os-release = %s, want %s", got, Stable)
	}
}

func FuzzRelease(f *testing.F) {
	key := fake.NewKey(time.Now().Add(-time.Hour), 0)
	text := "Codename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n " + strings.Repeat("0", 64) + " 0 main/binary-amd64/Packages.xz\n"
	f.Add(fake.Sign(key, text, time.Now()))
	f.Add([]byte(text))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseRelease(b, Keyring{key}, time.Now()); err != nil && !errors.Is(err, ErrUntrusted) && !strings.HasPrefix(err.Error(), "release file: ") {
			t.Errorf("ParseRelease = %v, want an error that says what is wrong", err)
		}
		if r, err := parseRelease(b); err == nil && (r.Codename == "" || len(r.files) == 0) {
			t.Errorf("parseRelease = %+v, want an error", r)
		}
	})
}
