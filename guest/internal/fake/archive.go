package fake

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Archive is a small archive of Debian packages that a mirror serves.
type Archive struct {
	Key *openpgp.Entity // that signs its Release files

	mu    sync.Mutex
	files map[string][]byte   // by URL path
	lists map[string][]string // stanzas, by suite
	srcs  map[string][]string // stanzas of source packages, by suite
	log   []string            // URL paths that were asked for
}

// NewKey makes a key as Debian's are, from a date on for so long; 0 is for ever.
func NewKey(from time.Time, lifetime time.Duration) *openpgp.Entity {
	c := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return from }, KeyLifetimeSecs: uint32(lifetime.Seconds())}
	e, err := openpgp.NewEntity("Archive", "test", "archive@example.org", c)
	must(err)
	return e
}

// NewArchive makes an empty archive.
func NewArchive() *Archive {
	return &Archive{Key: NewKey(time.Now().Add(-time.Hour), 0), files: map[string][]byte{}, lists: map[string][]string{}, srcs: map[string][]string{}}
}

// Add puts a package into a suite. fields are lines of its stanza besides.
func (a *Archive) Add(suite, name, version string, deb []byte, fields ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	file := fmt.Sprintf("pool/%s_%s_amd64.deb", name, version)
	a.files["/debian/"+file] = deb
	stanza := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nFilename: %s\nSize: %d\nSHA256: %x\n", name, version, file, len(deb), sha256.Sum256(deb))
	for _, f := range fields {
		stanza += f + "\n"
	}
	a.lists[suite] = append(a.lists[suite], stanza)
}

// AddSource puts a source package into a suite: its tar file, which is
// upstream's, and one of Debian's, which is not there.
func (a *Archive) AddSource(suite, name, version, file string, tar []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files["/debian/pool/src/"+file] = tar
	a.srcs[suite] = append(a.srcs[suite], fmt.Sprintf("Package: %s\nVersion: %s\nFiles:\n 00 1 %s\nChecksums-Sha256:\n %064x 1 %s_%s.debian.tar.xz\n %x %d %s\nDirectory: pool/src\n",
		name, version, file, 0, name, version, sha256.Sum256(tar), len(tar), file))
}

// Publish signs a suite, with lines for its Release file besides.
func (a *Archive) Publish(suite string, date time.Time, fields ...string) {
	a.mu.Lock()
	stanzas := strings.Join(a.lists[suite], "\n")
	a.mu.Unlock()
	a.PublishList(suite, date, []byte(stanzas), fields...)
}

// PublishList signs a suite whose package list is as given.
func (a *Archive) PublishList(suite string, date time.Time, list []byte, fields ...string) {
	small := Compress(".gz", list)
	text := fmt.Sprintf("Origin: Test\nSuite: test\nCodename: %s\nDate: %s\n", suite, date.UTC().Format(time.RFC1123))
	for _, f := range fields {
		text += f + "\n"
	}
	text += "SHA256:\n"
	at := "/debian/dists/" + suite + "/"
	a.mu.Lock()
	defer a.mu.Unlock()
	lists := map[string][]byte{"main/binary-amd64/Packages": list, "main/binary-amd64/Packages.gz": small}
	if srcs := a.srcs[suite]; srcs != nil {
		lists["main/source/Sources.gz"] = Compress(".gz", []byte(strings.Join(srcs, "\n")))
	}
	for name, b := range lists {
		text += fmt.Sprintf(" %x %8d %s\n", sha256.Sum256(b), len(b), name)
		if strings.HasSuffix(name, ".gz") {
			a.files[at+path.Dir(name)+fmt.Sprintf("/by-hash/SHA256/%x", sha256.Sum256(b))] = b
		}
	}
	a.files[at+"InRelease"] = Sign(a.Key, text, date)
}

// Sign makes a clear-signed text.
func Sign(key *openpgp.Entity, text string, date time.Time) []byte {
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, &packet.Config{Time: func() time.Time { return date }})
	must(err)
	_, err = io.WriteString(w, text)
	must(err)
	must(w.Close())
	return append(b.Bytes(), '\n')
}

// Put replaces a file, by its URL's path; nil removes it.
func (a *Archive) Put(path string, b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b == nil {
		delete(a.files, path)
	} else {
		a.files[path] = b
	}
}

// Get is the file of a URL's path.
func (a *Archive) Get(path string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.files[path]
}

// Asked counts the requests whose path has a part.
func (a *Archive) Asked(part string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.log {
		if strings.Contains(p, part) {
			n++
		}
	}
	return n
}

// Log lists the paths that were asked for.
func (a *Archive) Log() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.log)
}

func (a *Archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	b, ok := a.files[r.URL.Path]
	a.log = append(a.log, r.URL.Path)
	a.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// Sum is the SHA256 of b.
func Sum(b []byte) [32]byte { return sha256.Sum256(b) }

// Stalls answers, and then sends nothing.
func Stalls() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
}
