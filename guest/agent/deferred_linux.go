package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// deferredList names the files of the image whose content stays with the host
// until somebody opens them: a line each, of size and path. In the tree they
// are empty.
const deferredList = "/etc/nvlab/deferred"

// modulesRoot holds the folder of the running kernel's modules. That has what
// a boot needs; all else is with the host, and so are the true indices.
const modulesRoot = "/usr/lib/modules"

// deferred brings files from the host when they are first opened. The agent
// holds a lease on each (fcntl(2), F_SETLEASE): whoever opens one, be it to
// read, to run or to map, waits in the kernel until the lease is given up, and
// so does who waits for the kernel's own modprobe. Of the ways to make an
// opener wait this is the one that every kernel has, without a module and
// without a taint. Only O_NONBLOCK does not wait: it fails once with EAGAIN.
type deferred struct {
	fetch func(name string, take func([]byte) error) error

	mu      sync.Mutex
	leases  map[uint64]*lease // by inode
	modules string            // folder of the kernel's modules; "" once they are all known
}

type deferredFile struct {
	name string
	size int64
}

// A lease is on a file that is not here yet, or on an index of modules that
// does not know them all.
type lease struct {
	deferredFile
	fd    int
	ino   uint64
	index bool
}

// startDeferred prepares the deferred files of the image and of the kernel's
// modules.
func startDeferred(release string, fetch func(string, func([]byte) error) error) (*deferred, error) {
	d := &deferred{fetch: fetch, leases: map[uint64]*lease{}}
	list, err := readDeferredList()
	if err != nil {
		return nil, err
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, unix.SIGIO)
	if len(list) > 0 {
		// The root file system has half of memory, which is all that two copies
		// of an initramfs leave. These files are there once.
		unix.Mount("", "/", "", unix.MS_REMOUNT, "size=100%")
		d.raiseLimit(len(list))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range list {
		if err := d.hold(f, 0); err != nil {
			return nil, err
		}
	}
	if err := d.watchModules(path.Join(modulesRoot, release)); err != nil {
		return nil, err
	}
	go func() {
		for range broken {
			d.serve()
		}
	}()
	return d, nil
}

func readDeferredList() ([]deferredFile, error) {
	text, err := os.ReadFile(deferredList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseDeferred(string(text))
}

func parseDeferred(text string) (list []deferredFile, err error) {
	for line := range strings.Lines(text) {
		size, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || n < 0 || name == "" {
			return nil, fmt.Errorf("bad line %q in a list of files", line)
		}
		list = append(list, deferredFile{name, n})
	}
	return list, nil
}

// raiseLimit makes room for so many more descriptors: a lease lives with one.
func (d *deferred) raiseLimit(more int) {
	n := uint64(len(d.leases)+more) + 1024
	unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil)
}

// hold takes a lease on a file, which gets its size.
func (d *deferred) hold(f deferredFile, flags int) error {
	fd, err := unix.Open(f.name, unix.O_RDWR|unix.O_CLOEXEC|flags, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	if err := unix.Ftruncate(fd, f.size); err != nil {
		unix.Close(fd)
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return d.lease(&lease{deferredFile: f, fd: fd})
}

func (d *deferred) lease(l *lease) error {
	var st unix.Stat_t
	err := unix.Fstat(l.fd, &st)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(l.fd), unix.F_SETLEASE, unix.F_WRLCK)
	}
	if err != nil {
		unix.Close(l.fd)
		return fmt.Errorf("a lease on %s: %w", l.name, err)
	}
	l.ino = st.Ino
	d.leases[l.ino] = l
	return nil
}

// serve gives up the leases that somebody waits for. One signal may stand for
// several.
func (d *deferred) serve() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var wanted []*lease
	for _, l := range d.leases {
		if held, err := unix.FcntlInt(uintptr(l.fd), unix.F_GETLEASE, 0); err != nil || held != unix.F_WRLCK {
			wanted = append(wanted, l)
		}
	}
	slices.SortFunc(wanted, func(a, b *lease) int { return strings.Compare(a.name, b.name) })
	for _, l := range wanted {
		if err := d.bring(l); err != nil {
			report(err)
		}
	}
}

// bring fills a file and lets those go on who wait for it. A file that cannot
// be brought is empty, which no program and no module is.
func (d *deferred) bring(l *lease) error {
	if l.index {
		return d.allModules()
	}
	err := d.copy(l)
	d.release(l)
	return err
}

func (d *deferred) release(l *lease) {
	// Closing comes last and ends the lease: a file that is open for writing
	// cannot be run.
	delete(d.leases, l.ino)
	unix.Futimes(l.fd, []unix.Timeval{{}, {}}) // it was there all along
	unix.Close(l.fd)
}

func (d *deferred) copy(l *lease) error {
	err := roomFor(l.size)
	at := int64(0)
	if err == nil {
		err = d.fetch(l.name, func(b []byte) error {
			n, err := unix.Pwrite(l.fd, b, at)
			if err == nil && n < len(b) {
				err = unix.ENOSPC
			}
			at += int64(n)
			return err
		})
	}
	if err == nil && at != l.size {
		err = fmt.Errorf("the host brought %d of %d bytes", at, l.size)
	}
	if err != nil {
		unix.Ftruncate(l.fd, 0)
		return fmt.Errorf("%s is not to be had: %w", l.name, err)
	}
	return nil
}

// watchModules waits for somebody who looks modules up.
func (d *deferred) watchModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without modules
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		name := path.Join(dir, e.Name())
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := d.lease(&lease{deferredFile: deferredFile{name: name}, fd: fd, index: true}); err != nil {
			return err
		}
	}
	d.modules = dir
	return nil
}

// allModules makes every module of the kernel a deferred file, and the indices
// those of them all.
func (d *deferred) allModules() error {
	if d.modules == "" {
		return nil
	}
	dir := d.modules
	d.modules = ""
	indices := map[string]*lease{}
	for _, l := range d.leases {
		if l.index {
			indices[l.name] = l
		}
	}
	defer func() {
		for _, l := range indices {
			d.release(l)
		}
	}()
	var text strings.Builder
	err := d.fetch(dir, func(b []byte) error {
		text.Write(b)
		return nil
	})
	if err != nil {
		return fmt.Errorf("the kernel's modules are not to be had: %w", err)
	}
	list, err := parseDeferred(text.String())
	if err != nil {
		return err
	}
	d.raiseLimit(len(list))
	made := map[string]bool{}
	for _, f := range list {
		f.name = path.Join(dir, f.name)
		if l := indices[f.name]; l != nil {
			unix.Ftruncate(l.fd, 0)
			l.size = f.size
			if err := d.copy(l); err != nil {
				return err
			}
			continue
		}
		if parent := path.Dir(f.name); !made[parent] {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
			made[parent] = true
		}
		if err := d.hold(f, unix.O_CREAT|unix.O_EXCL); err != nil && !errors.Is(err, unix.EEXIST) { // else the boot has it
			return err
		}
	}
	return nil
}

// ensure brings a file that the agent itself is about to open, which would
// wait for itself.
func (d *deferred) ensure(name string) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if strings.Contains(name, "/lib/modules") {
		if err := d.allModules(); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return nil
	}
	if l := d.leases[st.Ino]; l != nil {
		return d.bring(l)
	}
	return nil
}

// maxInterpreters bounds the interpreters of interpreters, as Linux does
// (fs/exec.c, exec_binprm).
const maxInterpreters = 5

// ensureProgram brings a program that the agent itself is about to run, and the
// interpreter that it names. The agent's child has copies of the leases'
// descriptors until it runs the program, so that its open could not end one.
func (d *deferred) ensureProgram(name string) error {
	for range maxInterpreters {
		if err := d.ensure(name); err != nil {
			return err
		}
		if name = interpreter(name); name == "" {
			return nil
		}
	}
	return nil
}

// interpreter is what a script's first line names, "" of any other file.
func interpreter(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	line := make([]byte, 256) // BINPRM_BUF_SIZE
	n, _ := io.ReadFull(f, line)
	text, ok := strings.CutPrefix(string(line[:n]), "#!")
	if !ok {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n")
	if words := strings.Fields(text); len(words) > 0 {
		return words[0]
	}
	return ""
}
