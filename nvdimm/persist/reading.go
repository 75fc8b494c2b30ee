package persist

import (
	"fmt"
	"strconv"
	"strings"
)

// A Reading is under what rules a journal is looked at, if not those that it
// was recorded under. What was undecided when it began stays so.
type Reading struct {
	Platform *Platform // of every medium but those that promise nothing; nil for each its own
	Explicit bool      // see Config.Explicit
}

// platformWords name platforms in the ids of states.
var platformWords = []string{"adr", "eadr", "hints", "none"}

// PlatformNamed is a platform by its short name: "adr", "eadr", "hints" or
// "none".
func PlatformNamed(name string) (Platform, bool) {
	for i, w := range platformWords {
		if w == name {
			return Platform(i), true
		}
	}
	return 0, false
}

func (x Reading) words() (list []string) {
	if x.Platform != nil {
		list = append(list, platformWords[*x.Platform])
	}
	if x.Explicit {
		list = append(list, "explicit")
	}
	return list
}

// replayAs goes through the journal under a reading.
func (j *Journal) replayAs(x Reading) *replay {
	r := j.replay()
	r.model.Config.Explicit = r.model.Config.Explicit || x.Explicit
	for _, d := range r.model.media {
		if x.Platform != nil && d.Platform != Nothing {
			d.Platform = *x.Platform
		}
	}
	return r
}

// A name is what the id of a state says.
type name struct {
	event  int
	method rune // see point.choose
	k      int
	seed   uint64
	Reading
}

// id names a state: the event, how it was chosen, and a hash of the image that
// tells whether another run is the same.
func (n name) id(h hash) string {
	parts := []string{strconv.Itoa(n.event), string(n.method) + strconv.Itoa(n.k)}
	if n.seed != 0 {
		parts = append(parts, "s"+strconv.FormatUint(n.seed, 16))
	}
	return fmt.Sprintf("%s-%08x", strings.Join(append(parts, n.words()...), "."), uint32(h[0]))
}

// parseID reads the part of an id before its hash.
func parseID(id string) (n name, ok bool) {
	text, _, ok := strings.Cut(id, "-")
	parts := strings.Split(text, ".")
	if !ok || len(parts) < 2 || len(parts[1]) < 2 {
		return n, false
	}
	var err error
	if n.event, err = strconv.Atoi(parts[0]); err != nil {
		return n, false
	}
	n.method = rune(parts[1][0])
	if n.k, err = strconv.Atoi(parts[1][1:]); err != nil || !strings.ContainsRune("xrt", n.method) {
		return n, false
	}
	for _, p := range parts[2:] {
		platform, isPlatform := PlatformNamed(p)
		switch {
		case isPlatform:
			n.Platform = &platform
		case p == "explicit":
			n.Explicit = true
		case strings.HasPrefix(p, "s"):
			if n.seed, err = strconv.ParseUint(p[1:], 16, 64); err != nil {
				return n, false
			}
		default:
			return n, false
		}
	}
	return n, n.event >= 0 && n.k >= 0
}
