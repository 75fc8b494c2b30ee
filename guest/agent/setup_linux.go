package agent

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mounts are made in this order; folders that are not there are made.
var mounts = []struct {
	fs, at, data string
	flags        uintptr
}{
	{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
	{"devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", unix.MS_NOSUID | unix.MS_NOEXEC},
	{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
	{"tmpfs", "/tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	{"debugfs", "/sys/kernel/debug", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"tracefs", "/sys/kernel/tracing", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
}

// staticNodes are devices whose drivers are modules that load when somebody
// opens them; on other systems kmod makes the nodes, from modules.devname. The
// minors are fixed (Linux, include/linux/miscdevice.h).
var staticNodes = []struct {
	name  string
	minor uint32
}{
	{"loop-control", 237}, {"mapper/control", 236}, {"btrfs-control", 234}, {"fuse", 229},
}

const miscMajor = 10

var environment = []string{
	"PATH=/usr/bin:/usr/sbin:/bin:/sbin",
	"HOME=/root",
	"TERM=linux",
}

// setUp makes the surroundings that programs expect and returns what went
// wrong.
func setUp() (notes []string) {
	for _, m := range mounts {
		if strings.HasPrefix(m.at, "/dev/") {
			os.Mkdir(m.at, 0o755)
		}
		err := unix.Mount(m.fs, m.at, m.fs, m.flags, m.data)
		// A kernel need not have debugfs or tracefs.
		if err != nil && !strings.HasPrefix(m.at, "/sys/kernel/") {
			notes = append(notes, fmt.Sprintf("cannot mount %s on %s: %v", m.fs, m.at, err))
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		os.Symlink(to, "/dev/"+name)
	}
	for _, n := range staticNodes {
		if strings.Contains(n.name, "/") {
			os.Mkdir("/dev/"+path.Dir(n.name), 0o755)
		}
		unix.Mknod("/dev/"+n.name, unix.S_IFCHR|0o600, int(unix.Mkdev(miscMajor, n.minor))) // one that is there is a driver's
	}
	if err := unix.Sethostname([]byte("nvlab")); err != nil {
		notes = append(notes, fmt.Sprintf("cannot set the host name: %v", err))
	}
	if err := loopbackUp(); err != nil {
		notes = append(notes, fmt.Sprintf("cannot bring up lo: %v", err))
	}
	os.Clearenv()
	for _, e := range environment {
		k, v, _ := strings.Cut(e, "=")
		os.Setenv(k, v)
	}
	unix.Umask(0o022)
	return notes
}

// loopbackUp makes 127.0.0.1 and ::1 answer (netdevice(7), SIOCSIFFLAGS). A
// kernel need not have a network.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		if err == unix.EAFNOSUPPORT || err == unix.ENOSYS {
			return nil
		}
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// reseed has the kernel's random numbers depend on what the processor gives from here
// on. What it gave before may be the same for all boots of a machine.
func reseed() error {
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("cannot reseed the random numbers: %w", err)
	}
	return nil
}

// loadModules loads what the image lists. A module that does not load is no
// error: a kernel on another machine may have no use for it.
func loadModules() (notes []string) {
	if devices, err := os.ReadDir("/sys/bus/pci/devices"); err == nil && len(devices) > 0 {
		notes = loadList(pciModulesList)
	}
	return append(notes, loadList(modulesList)...)
}

func loadList(name string) (notes []string) {
	list, err := os.ReadFile(name)
	if err != nil {
		return []string{fmt.Sprintf("cannot read the list of modules: %v", err)}
	}
	for _, file := range strings.Fields(string(list)) {
		if err := loadModule(file); err != nil && err != unix.EEXIST {
			notes = append(notes, fmt.Sprintf("module %s does not load: %v", strings.TrimSuffix(filepath.Base(file), ".ko"), err))
		}
	}
	return notes
}

func loadModule(file string) error {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.FinitModule(fd, "", 0)
}

// modprobe loads modules of the kernel that the image does not hold. Those that
// the kernel has not, or has built in, are no error.
func (s *server) modprobe(names []string) (notes []string) {
	env := os.Environ()
	path, err := lookPath("modprobe", env)
	if err == nil {
		err = s.deferred.ensureProgram(path)
	}
	null, err2 := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err = errors.Join(err, err2); err != nil {
		return []string{fmt.Sprintf("modules do not load: %v", err)}
	}
	defer unix.Close(null)
	for _, name := range names {
		_, exited, err := s.procs.start([]string{path, "-q", name}, &syscall.ProcAttr{
			Dir: "/", Env: env, Files: []uintptr{uintptr(null), uintptr(null), uintptr(null)},
		})
		if err != nil {
			return append(notes, fmt.Sprintf("module %s does not load: %v", name, err))
		}
		<-exited
	}
	return notes
}

// waitProbe returns when every NVDIMM bus has settled (Linux,
// drivers/nvdimm/bus.c, wait_probe_show).
func waitProbe() (notes []string) {
	buses, err := os.ReadDir("/sys/bus/nd/devices")
	if err != nil {
		return nil
	}
	for _, b := range buses {
		if !strings.HasPrefix(b.Name(), "ndbus") {
			continue
		}
		if _, err := os.ReadFile("/sys/bus/nd/devices/" + b.Name() + "/wait_probe"); err != nil {
			notes = append(notes, fmt.Sprintf("%s did not settle: %v", b.Name(), err))
		}
	}
	return notes
}
