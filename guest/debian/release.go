package debian

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	openpgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// ErrUntrusted says that a Release file is not signed by Debian.
var ErrUntrusted = errors.New("not signed by any key of Debian's archive")

// maxRelease bounds a Release file, in bytes; sid's has 200,000.
const maxRelease = 16 << 20

//go:embed keyring/debian-archive-keyring.pgp
var keyringFile []byte

// Keyring holds the keys that Release files are trusted for.
type Keyring = openpgp.EntityList

// DebianKeyring is Debian's own, of the package debian-archive-keyring.
var DebianKeyring = sync.OnceValues(func() (Keyring, error) {
	return openpgp.ReadKeyRing(bytes.NewReader(keyringFile))
})

// A Release is a suite's signed table of contents.
type Release struct {
	Codename     string
	Date         time.Time
	ValidUntil   time.Time // zero if it says nothing
	NotAutomatic bool      // nothing is taken of it unless asked for: backports
	KeyExpired   bool      // the key that signed it has expired since

	files map[string]digest
}

// A digest is what a Release file says of another.
type digest struct {
	size   int64
	sha256 string // lower-case hex
}

// ParseRelease verifies an InRelease file and reads it. Of what stands outside
// the signed text nothing counts.
func ParseRelease(inRelease []byte, keys Keyring, now time.Time) (*Release, error) {
	block, _ := clearsign.Decode(inRelease)
	if block == nil {
		return nil, fmt.Errorf("%w: it is no clear-signed text", ErrUntrusted)
	}
	signature, err := readAll(block.ArmoredSignature.Body, maxRelease)
	if err != nil {
		return nil, fmt.Errorf("%w: its signature is damaged: %w", ErrUntrusted, err)
	}
	verify := func(at time.Time) error {
		_, err := openpgp.CheckDetachedSignature(keys, bytes.NewReader(block.Bytes), bytes.NewReader(signature), &packet.Config{Time: func() time.Time { return at }})
		return err
	}
	r, parsed := parseRelease(block.Plaintext)
	if err := verify(now); err != nil {
		// An archive that is no longer changed outlives its keys: what they
		// signed while they were valid is still Debian's.
		if !errors.Is(err, openpgperrors.ErrKeyExpired) || parsed != nil || verify(r.Date) != nil {
			return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
		}
		r.KeyExpired = true
	}
	return r, parsed
}

// parseRelease reads the text of a Release file (Debian's wiki,
// DebianRepository/Format).
func parseRelease(text []byte) (*Release, error) {
	r := &Release{files: map[string]digest{}}
	field := ""
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			if field == "sha256" {
				if err := r.add(strings.Fields(string(line))); err != nil {
					return nil, err
				}
			}
			continue
		}
		name, value, _ := strings.Cut(string(line), ":")
		field, value = strings.ToLower(name), strings.TrimSpace(value)
		var err error
		switch field {
		case "codename":
			r.Codename = value
		case "date":
			r.Date, err = time.Parse(time.RFC1123, value)
		case "valid-until":
			r.ValidUntil, err = time.Parse(time.RFC1123, value)
		case "notautomatic":
			r.NotAutomatic = value == "yes"
		}
		if err != nil {
			return nil, fmt.Errorf("release file: %s: %q is no date", name, value)
		}
	}
	if r.Codename == "" || r.Date.IsZero() || len(r.files) == 0 {
		return nil, errors.New("release file: it lacks Codename, Date or SHA256")
	}
	return r, nil
}

// add takes a line of the table: digest, size, path.
func (r *Release) add(f []string) error {
	if len(f) != 3 {
		return fmt.Errorf("release file: line %q of SHA256 has %d words, want digest, size and path", strings.Join(f, " "), len(f))
	}
	sum, err := hex.DecodeString(f[0])
	size, err2 := strconv.ParseInt(f[1], 10, 64)
	if err != nil || len(sum) != 32 || err2 != nil || size < 0 {
		return fmt.Errorf("release file: %s: digest %q of %q bytes", f[2], f[0], f[1])
	}
	r.files[f[2]] = digest{size, strings.ToLower(f[0])}
	return nil
}
