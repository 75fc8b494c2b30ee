// Package guest builds, keeps and hands out guests: a stock kernel and an
// initramfs with the distribution's own ndctl, unmodified, made from packages
// without root.
//
// A store is a folder with nothing in it that ties it to a machine:
//
//	guests/NAME/manifest.json  what the guest is made of
//	guests/NAME/kernel         the kernel as the package has it (bzImage)
//	guests/NAME/vmlinux        the same, decompressed (if a Store.Vmlinux was set)
//	guests/NAME/initrd.cpio    the file tree, uncompressed newc
//	guests/NAME/modules.zip    the kernel's modules, shared by guests of one kernel
//	guests/NAME/files.zip      the larger files of extra packages
//	guests/NAME/modules.index.zip  indices of the modules, once they were asked for
//	guests/NAME/checked.json   what those files looked like when their digests were right
//	guests/NAME/used           locked by who uses the guest; its time is that of the latest use
//	guests/default             the name of the default guest
//	downloads/                 the packages, as fetched
//	lists/                     Debian's package lists
//	agents/                    programs that are pid 1 of guests
//	states/                    what guests' machines were, to go on from; not this package's
//	tmp/                       builds under way
//	lock                       held while something is built or removed
package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nvlab/guest/debian"
	"nvlab/internal/spell"
)

// StatesDir is the folder in a store that has states of machines.
const StatesDir = "states"

// recipe is raised whenever the same packages would give another guest: a
// guest of another recipe is built anew.
const recipe = 8

// splitRecipe is that of guests whose file tree is in two files, for an nvlab that
// would take the first of them for all.
const splitRecipe = 100 + recipe

// DefaultKernel names the package of the default guest's kernel.
const DefaultKernel = "linux-image-cloud-amd64"

// Spec says which guest is wanted.
type Spec struct {
	// Kernel is "" for the default guest, the name of a guest in the store, a
	// kernel release (6.1.0-56-cloud-amd64), a Debian package
	// (linux-image-amd64) or PACKAGE=VERSION, or the path of a vmlinuz,
	// bzImage or vmlinux whose modules are in lib/modules/RELEASE of a folder
	// that it is in, or in /lib/modules. What holds a slash is a path. A
	// package may be followed by @ and the release of Debian that it is of.
	Kernel string
	// Release is the release of Debian that kernel and packages come from; ""
	// is that of the default guest, or where there is none the host's.
	Release string
	// Packages are Debian packages whose files, and whose dependencies'
	// files, the guest has besides. What holds a slash is the path of a .deb.
	// src:NAME is a source package: what upstream released, at /usr/src/NAME.
	Packages []string
	// Rebuild builds the guest even if the store has it.
	Rebuild bool

	local []localPackage // see localize
}

// extra returns the packages sorted, each once.
func (s Spec) extra() []string {
	list := slices.Clone(s.Packages)
	slices.Sort(list)
	return slices.Compact(list)
}

func (s Spec) String() string {
	name := s.Kernel
	if name == "" {
		name = "default"
	}
	if s.Release != "" {
		name += " of " + s.Release
	}
	return strings.Join(append([]string{name}, s.extra()...), "+")
}

// Check says whether a spec could name a guest.
func (s Spec) Check() error {
	if s.Release != "" && !debian.Known(s.Release) {
		meant := ""
		if near := spell.Nearest(s.Release, debian.Releases()); near != "" {
			meant = fmt.Sprintf(" (did you mean %s?)", near)
		}
		return fmt.Errorf("release %q: want %s%s", s.Release, strings.Join(debian.Releases(), ", "), meant)
	}
	for _, p := range s.Packages {
		switch {
		case isFile(p), s.isLocal(p):
		case strings.HasSuffix(p, ".deb"):
			return fmt.Errorf("package %q: the path of a file holds a slash: ./%s", p, p)
		case p == sourcePrefix:
			return fmt.Errorf("package %q: of which source? want its name as well, such as %sndctl", p, sourcePrefix)
		case !debian.ValidName(strings.TrimPrefix(p, sourcePrefix)):
			return fmt.Errorf("package %q is no name of a Debian package", p)
		}
	}
	if strings.Contains(s.Kernel, "/") {
		return nil
	}
	name, version, _ := strings.Cut(s.Kernel, "=")
	for _, part := range []string{name, version} {
		if strings.ContainsAny(part, " \t\n\x00'\"") || strings.HasPrefix(part, "-") {
			return fmt.Errorf("kernel %q is neither the name of a guest, nor a package, nor a path", s.Kernel)
		}
	}
	return nil
}

// Manifest is what a guest is made of.
type Manifest struct {
	Recipe int    `json:"recipe"`
	Name   string `json:"name"`
	Base   string `json:"base"`             // Name without extra packages
	Debian string `json:"debian,omitempty"` // code name of the release that tools are of; "" for tools of the host
	Kernel struct {
		Release string   `json:"release"`           // uname -r: 6.1.0-56-cloud-amd64
		Version string   `json:"version"`           // 6.1.192
		Package string   `json:"package,omitempty"` // "" for a kernel of the host
		Debian  string   `json:"debian,omitempty"`  // the package's version: 6.1.192-2
		Archive string   `json:"archive,omitempty"` // code name of the release it is of
		Aliases []string `json:"aliases,omitempty"` // metapackages that led here
		Source  string   `json:"source"`            // "package" or "host"
	} `json:"kernel"`
	Extra        []string           `json:"extra,omitempty"`        // Spec.Packages
	Packages     []debian.Package   `json:"packages,omitempty"`     // all that files were taken from
	Tools        string             `json:"tools"`                  // "package" or "host"
	Boot         []string           `json:"boot"`                   // modules in the order the agent loads them
	Modules      []string           `json:"modules"`                // modules in the initramfs; all others are in an archive
	ExtraModules []string           `json:"extraModules,omitempty"` // modules of extra packages, by path in the guest
	Image        FileSum            `json:"image"`                  // the kernel
	Initrd       FileSum            `json:"initrd"`
	Archives     map[string]FileSum `json:"archives,omitempty"` // what initrd.cpio leaves out, by file
	Vmlinux      FileSum            `json:"vmlinux,omitzero"`   // the kernel, decompressed, once it was
	Content      string             `json:"content"`            // SHA256 over both: the identity of the guest
	Files        int                `json:"files"`              // in the initramfs
	Built        time.Time          `json:"built"`
}

func (m *Manifest) extraModule(p string) bool { return slices.Contains(m.ExtraModules, p) }

// FileSum tells whether a file is whole.
type FileSum struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Image is a guest in the store.
type Image struct {
	Name          string
	KernelRelease string // uname -r
	KernelVersion string // upstream, such as 6.1.192
	KernelPath    string // bzImage, or vmlinux if that was given
	VmlinuxPath   string // KernelPath, decompressed; "" if there is no such file
	BaseInitrd    string
	Default       bool
	Manifest      Manifest

	dir  string
	held *os.File // see hold
}

func imageAt(dir string, m Manifest) *Image {
	return &Image{
		Name:          m.Name,
		KernelRelease: m.Kernel.Release,
		KernelVersion: m.Kernel.Version,
		KernelPath:    filepath.Join(dir, kernelFile),
		BaseInitrd:    filepath.Join(dir, initrdFile),
		Manifest:      m,
		dir:           dir,
	}
}

// Dir is the guest's folder.
func (im *Image) Dir() string { return im.dir }

// matches reports whether the image is what a spec with a kernel asks for. A
// package is of the release that is the default, if the spec names none.
func (im *Image) matches(spec Spec, release string) bool {
	m := &im.Manifest
	if spec.Release != "" && m.Debian != spec.Release {
		return false
	}
	if spec.Kernel == m.Name && len(spec.Packages) == 0 {
		return true
	}
	if !slices.Equal(m.Extra, spec.extra()) {
		return false
	}
	k := &m.Kernel
	if spec.Kernel == m.Base || spec.Kernel == k.Release {
		return true
	}
	if m.Debian != release {
		return false
	}
	if spec.Kernel+"@"+release == m.Base {
		return true
	}
	name, from := kernelOf(spec.Kernel, release)
	if k.Package == "" || k.Archive != from {
		return false
	}
	name, version, pinned := strings.Cut(name, "=")
	return (name == k.Package || slices.Contains(k.Aliases, name)) && (!pinned || version == k.Debian)
}

// kernelOf splits what may follow a kernel's name: the release that it is of.
func kernelOf(kernel, release string) (name, from string) {
	if i := strings.LastIndexByte(kernel, '@'); i >= 0 && debian.Known(kernel[i+1:]) {
		return kernel[:i], kernel[i+1:]
	}
	return kernel, release
}
