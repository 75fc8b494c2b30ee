package debian

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoApt says that the host has no apt client.
var ErrNoApt = errors.New("apt-get and apt-cache are not on this host (PATH)")

// ErrBroken says that a downloaded package is not the one of the signed lists.
var ErrBroken = errors.New("broken download")

// ToolError says that one of apt's tools failed: no network, no such package,
// a source that is set up wrongly.
type ToolError struct {
	Command string // apt-get update
	Text    string // what it complained of
}

func (e *ToolError) Error() string { return e.Command + ": " + e.Text }

// Apt runs apt's client on a private state: lists that stay, all else in a
// folder that the caller throws away. It uses the host's sources and keys and
// takes none of its locks.
type Apt struct {
	lists string
	work  string
	conf  string
}

// NewApt prepares a client. lists keeps the package lists from one time to the
// next; work is scratch.
func NewApt(lists, work string) (*Apt, error) {
	for _, tool := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, ErrNoApt
		}
	}
	a := &Apt{lists: lists, work: work, conf: filepath.Join(work, "apt.conf")}
	for _, dir := range []string{filepath.Join(lists, "partial"), filepath.Join(work, "archives", "partial"), filepath.Join(work, "state")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot prepare apt's folders: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(work, "status"), []byte(assumed(nil)), 0o644); err != nil {
		return nil, fmt.Errorf("cannot prepare apt's folders: %w", err)
	}
	if err := os.WriteFile(a.conf, []byte(a.config()), 0o644); err != nil {
		return nil, fmt.Errorf("cannot prepare apt's folders: %w", err)
	}
	return a, nil
}

// config is read after the host's own configuration (apt.conf(5): the file of
// option -c comes last), so its hooks and extra indexes can be cleared and its
// proxy stays.
func (a *Apt) config() string {
	q := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, ``) + `"` }
	return `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear Acquire::IndexTargets;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "";
APT::Get::List-Cleanup "false";
APT::Install-Recommends "false";
Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  flatDescription "$(RELEASE) Packages";
  Optional "no";
};
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Debug::NoLocking "true";
Dir::State ` + q(filepath.Join(a.work, "state")) + `;
Dir::State::lists ` + q(a.lists) + `;
Dir::State::status ` + q(filepath.Join(a.work, "status")) + `;
Dir::Cache ` + q(a.work) + `;
Dir::Cache::archives "archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Log ` + q(a.work) + `;
`
}

// assumed is a dpkg status file in which the tools of installation pass for
// installed, unless they are wanted for themselves: a guest's packages are
// unpacked, never configured.
func assumed(wanted []string) string {
	var b strings.Builder
	for _, name := range []string{
		"adduser", "base-files", "base-passwd", "debconf", "debianutils", "dpkg", "init-system-helpers", "initramfs-tools",
		"install-info", "kmod", "linux-base", "login", "passwd", "perl-base", "sensible-utils", "sysvinit-utils", "tar", "ucf", "usrmerge", "usr-is-merged",
	} {
		if slices.Contains(wanted, name) {
			continue
		}
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nVersion: 99:1\nArchitecture: amd64\nMulti-Arch: foreign\nMaintainer: none\n", name)
		if name == "debconf" {
			b.WriteString("Provides: debconf-2.0\n")
		}
		b.WriteString("Description: assumed\n\n")
	}
	return b.String()
}

// Updated is when Update last succeeded, or the zero time.
func (a *Apt) Updated() time.Time {
	if st, err := os.Stat(filepath.Join(a.lists, "updated")); err == nil {
		return st.ModTime()
	}
	return time.Time{}
}

// Update fetches the package lists. Some of the host's sources may fail; that
// is an error too, but what the others gave is there.
func (a *Apt) Update(ctx context.Context) error {
	_, err := a.run(ctx, "", nil, "apt-get", "update", "--error-on=any")
	if err != nil {
		return fmt.Errorf("cannot update the package lists: %w", err)
	}
	return os.WriteFile(filepath.Join(a.lists, "updated"), nil, 0o644)
}

// Show returns what the lists say of packages, each NAME or NAME=VERSION. What
// they do not have is left out.
func (a *Apt) Show(ctx context.Context, names ...string) ([]Package, error) {
	args := append([]string{"show", "--no-all-versions"}, names...)
	out, err := a.run(ctx, "", nil, "apt-cache", args...)
	if err != nil && (ctx.Err() != nil || !isNotFound(err)) {
		return nil, err
	}
	return ParseIndex(bytes.NewReader(out))
}

func isNotFound(err error) bool {
	s := err.Error()
	return strings.Contains(s, "No packages found") || strings.Contains(s, "Unable to locate package") ||
		strings.Contains(s, "was not found") || strings.Contains(s, "No such package")
}

// Names lists the packages whose name begins with prefix.
func (a *Apt) Names(ctx context.Context, prefix string) ([]string, error) {
	out, err := a.run(ctx, "", nil, "apt-cache", "pkgnames", prefix)
	return strings.Fields(string(out)), err
}

// Closure returns the packages and all they depend on, as NAME=VERSION.
func (a *Apt) Closure(ctx context.Context, names []string) ([]string, error) {
	if err := os.WriteFile(filepath.Join(a.work, "status"), []byte(assumed(names)), 0o644); err != nil {
		return nil, fmt.Errorf("cannot prepare apt's folders: %w", err)
	}
	args := append([]string{"install", "-qq", "-y", "--no-install-recommends", "--print-uris", "--"}, names...)
	out, err := a.run(ctx, "", nil, "apt-get", args...)
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		// 'URI' NAME_VERSION_ARCH.deb SIZE HASH
		f := strings.Fields(line)
		if len(f) < 3 || f[0][0] != '\'' {
			continue
		}
		part := strings.Split(f[1], "_")
		if len(part) != 3 {
			return nil, fmt.Errorf("apt-get names the file %q; expected NAME_VERSION_ARCH.deb", f[1])
		}
		list = append(list, part[0]+"="+strings.ReplaceAll(part[1], "%3a", ":"))
	}
	return list, nil
}

// Missing returns the packages that are not in dir, each as a file that the
// lists' hash verifies. A wrong file is removed.
func Missing(list []Package, dir string) ([]Package, error) {
	var missing []Package
	for _, p := range list {
		file := filepath.Join(dir, p.FileName())
		err := Verify(file, p)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrNotExist) {
			if err := os.Remove(file); err != nil {
				return nil, err
			}
		}
		missing = append(missing, p)
	}
	return missing, nil
}

// Download fetches packages into dir and verifies each against the SHA256 of
// the signed lists.
func (a *Apt) Download(ctx context.Context, list []Package, dir string, progress func(bytes int64)) error {
	var want []string
	var total int64
	for _, p := range list {
		want = append(want, p.String())
		total += p.Size
	}
	fetched := filepath.Join(a.work, "fetched")
	if err := os.MkdirAll(fetched, 0o755); err != nil {
		return err
	}
	var reported int64
	percent := func(p float64) {
		if now := int64(p / 100 * float64(total)); now > reported {
			progress(now - reported)
			reported = now
		}
	}
	args := append([]string{"download", "-q"}, want...)
	if _, err := a.run(ctx, fetched, percent, "apt-get", args...); err != nil {
		return fmt.Errorf("cannot download %s: %w", strings.Join(want, " "), err)
	}
	percent(100)
	for _, p := range list {
		from := filepath.Join(fetched, p.FileName())
		if err := Verify(from, p); err != nil {
			return err
		}
		if err := os.Rename(from, filepath.Join(dir, p.FileName())); err != nil {
			return err
		}
	}
	return nil
}

// Verify compares a file with the size and hash that the lists have for the
// package.
func Verify(file string, p Package) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", filepath.Base(file), err)
	}
	if p.Size != 0 && n != p.Size {
		return fmt.Errorf("%w: %s has %d bytes; the package list says %d", ErrBroken, filepath.Base(file), n, p.Size)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("%w: %s has SHA256 %s; the package list says %q", ErrBroken, filepath.Base(file), got, p.SHA256)
	}
	return nil
}

// run executes one of apt's tools and returns its output. Its error carries
// what apt itself complained of.
func (a *Apt) run(ctx context.Context, dir string, progress func(float64), tool string, args ...string) ([]byte, error) {
	full := []string{"-c", a.conf}
	var status *os.File
	var watched chan struct{}
	if progress != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		status = w
		watched = make(chan struct{})
		go func() {
			defer close(watched)
			defer r.Close()
			watchStatus(r, progress)
		}()
		full = append(full, "-o", "APT::Status-Fd=3")
	}
	cmd := exec.CommandContext(ctx, tool, append(full, args...)...)
	ownGroup(cmd)
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "APT_CONFIG=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if status != nil {
		cmd.ExtraFiles = []*os.File{status}
	}
	err := cmd.Run()
	if status != nil {
		status.Close()
		<-watched
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return stdout.Bytes(), &ToolError{tool + " " + args[0], complaint(stderr.String(), err)}
	}
	return stdout.Bytes(), nil
}

// complaint keeps apt's own error lines, in one line.
func complaint(stderr string, err error) string {
	var keep []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "E: "); ok && text != "Some index files failed to download. They have been ignored, or old ones used instead." {
			keep = append(keep, text)
		} else if text, ok := strings.CutPrefix(line, "W: "); ok && strings.Contains(text, "Failed to fetch") {
			keep = append(keep, text)
		}
	}
	if len(keep) == 0 {
		if s := strings.TrimSpace(stderr); s != "" {
			keep = strings.Split(s, "\n")
		} else {
			return err.Error()
		}
	}
	const most = 4
	if len(keep) > most {
		keep = append(keep[:most], fmt.Sprintf("and %d more", len(keep)-most))
	}
	return strings.Join(keep, "; ")
}

// watchStatus reads APT::Status-Fd lines, "dlstatus:N:PERCENT:TEXT".
func watchStatus(r io.Reader, progress func(float64)) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.SplitN(s.Text(), ":", 4)
		if len(f) == 4 && f[0] == "dlstatus" {
			if p, err := strconv.ParseFloat(f[2], 64); err == nil && p >= 0 && p <= 100 {
				progress(p)
			}
		}
	}
	io.Copy(io.Discard, r)
}
