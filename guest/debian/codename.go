package debian

import (
	"bufio"
	"os"
	"strings"
)

// Stable is the release that guests are made of where the host is no Debian.
const Stable = "trixie"

// Releases are the code names of the releases that guests can be made of,
// oldest first.
func Releases() []string { return []string{"bullseye", "bookworm", "trixie", "forky", "sid"} }

// Known reports whether guests can be made of a release.
func Known(release string) bool {
	for _, r := range Releases() {
		if r == release {
			return true
		}
	}
	return false
}

// osRelease is os-release(5) of the host; tests set another.
var osRelease = "/etc/os-release"

// HostRelease is the host's own release where that is one of Releases, and
// Stable elsewhere.
func HostRelease() string {
	f, err := os.Open(osRelease)
	if err != nil {
		return Stable
	}
	defer f.Close()
	values := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), "="); ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	if r := values["VERSION_CODENAME"]; values["ID"] == "debian" && Known(r) {
		return r
	}
	return Stable
}

// A suite is a part of an archive that has a Release file of its own.
type suite struct {
	name     string // such as trixie-security
	security bool   // in the archive of security updates
	required bool   // a release is of no use without it
}

// suites are those that a release's packages come from. Of forky and older
// there are updates to it, security updates, and backports from later ones.
func suites(release string) []suite {
	if release == "sid" {
		return []suite{{name: "sid", required: true}}
	}
	return []suite{
		{name: release, required: true},
		{name: release + "-updates"},
		{name: release + "-security", security: true},
		{name: release + "-backports"},
	}
}
