package guest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"nvlab/guest/rootfs"
)

// baseTools are the packages whose programs every guest has.
var baseTools = []string{"busybox", "ndctl", "daxctl", "e2fsprogs", "xfsprogs"}

// basePaths are what a guest takes of them, in merged paths; a name ending in /
// takes all below. Libraries come by what these need.
var basePaths = []string{
	"usr/bin/busybox",
	"usr/bin/ndctl", "etc/ndctl/", "etc/ndctl.conf.d/",
	"usr/bin/daxctl", "etc/daxctl.conf.d/",
	"usr/bin/mke2fs", "usr/bin/mkfs.ext2", "usr/bin/mkfs.ext4", "usr/bin/e2fsck", "usr/bin/fsck.ext4",
	"usr/bin/tune2fs", "usr/bin/dumpe2fs", "usr/bin/resize2fs", "etc/mke2fs.conf",
	"usr/bin/mkfs.xfs", "usr/bin/xfs_repair", "usr/share/xfsprogs/mkfs/",
}

// alwaysThere are the programs that no guest is without.
var alwaysThere = []string{"busybox", "ndctl", "daxctl"}

func inBase(p string) bool {
	for _, want := range basePaths {
		if p == want || strings.HasSuffix(want, "/") && strings.HasPrefix(p, want) {
			return true
		}
	}
	return false
}

// needless are folders that no program of a guest reads.
var needless = []string{
	"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/", "usr/share/bash-completion/",
	"usr/share/bug/", "usr/lib/systemd/", "usr/lib/udev/", "usr/lib/x86_64-linux-gnu/gconv/", "usr/share/initramfs-tools/", "etc/init.d/", "etc/cron.d/",
	"boot/",
}

func isNeedless(p string) bool {
	if doc, ok := strings.CutPrefix(p, "usr/share/doc/"); ok { // a compiler reads the examples of a library
		of, within, _ := strings.Cut(doc, "/")
		return !strings.HasSuffix(of, "-dev") || !strings.HasPrefix(within, "examples/")
	}
	for _, dir := range needless {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return false
}

// bootModules are loaded by the agent, in this order with what each needs
// before it: first the channel, then the NVDIMM stack. To verify a module's
// signature is a hundredth of a boot, so what a program of the guest loads when
// it needs it, as daxctl does kmem, is left to that.
var bootModules = []string{
	"virtio_mmio", "virtio_console", "virtio_rng",
	"libnvdimm", "nfit", "nd_btt", "nd_pmem", "dax", "device_dax", "dax_pmem",
}

// pciModules are loaded before them on a machine with a PCI bus, which nvlab's
// is not.
var pciModules = []string{"virtio_pci"}

// requiredModules must be there or built in, or the kernel is of no use.
var requiredModules = []string{"virtio_mmio", "virtio_console", "libnvdimm", "nfit", "nd_pmem"}

// Where the agent finds the paths of the modules to load.
const (
	modulesList    = "etc/nvlab/modules"
	pciModulesList = "etc/nvlab/modules.pci"
)

// addModules puts modules into the tree and returns the boot order and all
// names.
func addModules(t *rootfs.Tree, m *rootfs.Modules) (boot, all []string, err error) {
	if _, err := m.Order(requiredModules, true); err != nil {
		return nil, nil, fmt.Errorf("kernel %s cannot be a guest's: %w", m.Release, err)
	}
	if boot, err = m.Order(bootModules, false); err != nil {
		return nil, nil, err
	}
	pci, err := m.Order(pciModules, false)
	if err != nil {
		return nil, nil, err
	}
	if all, err = m.Order(slices.Concat(bootModules, pciModules), false); err != nil {
		return nil, nil, err
	}
	if err := m.Install(t, all); err != nil {
		return nil, nil, err
	}
	keepModules(t, m)
	for file, names := range map[string][]string{modulesList: boot, pciModulesList: pci} {
		var list strings.Builder
		for _, name := range names {
			fmt.Fprintln(&list, m.Path(name))
		}
		if err := t.AddFile(file, 0o644, []byte(list.String())); err != nil {
			return nil, nil, err
		}
	}
	return boot, all, nil
}

// addSystem adds what is no package's: folders to mount on, the few files that
// C libraries ask for, busybox's names.
func addSystem(t *rootfs.Tree) error {
	for _, dir := range []string{"dev", "proc", "sys", "run", "mnt", "var/log", "var/lib"} {
		if err := t.AddDir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := t.AddDir("tmp", 0o1777); err != nil {
		return err
	}
	if err := t.AddDir("root", 0o700); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
		"etc/group":    "root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n",
		"etc/hostname": "nvlab\n",
		"etc/hosts":    "127.0.0.1 localhost nvlab\n",
		// What mount tries without -t: the kernel loads what is a module.
		"etc/filesystems": "ext4\nxfs\n*\n",
	} {
		if t.Get(name) == nil {
			if err := t.AddFile(name, 0o644, []byte(content)); err != nil {
				return err
			}
		}
	}
	if err := t.AddLink("etc/mtab", "/proc/self/mounts"); err != nil {
		return err
	}
	if err := t.AddLink("var/run", "/run"); err != nil {
		return err
	}
	return addApplets(t)
}

// addApplets links every busybox applet that no package has a program for.
func addApplets(t *rootfs.Tree) error {
	names, err := applets(t, "busybox")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("the guest has no busybox")
	}
	static, err := applets(t, staticBusybox)
	if err != nil {
		return err
	}
	for _, name := range names {
		p := path.Join("usr/bin", name)
		if t.Get(p) != nil {
			continue
		}
		to := "busybox"
		if slices.Contains(leaves, name) && slices.Contains(static, name) {
			to = staticBusybox
		}
		if err := t.AddLink(p, to); err != nil {
			return err
		}
	}
	return nil
}

// applets are those of a busybox in usr/bin, none if it is not there.
func applets(t *rootfs.Tree, name string) ([]string, error) {
	n := t.Get("usr/bin/" + name)
	if n == nil {
		return nil, nil
	}
	program, err := n.ReadAll()
	if err != nil {
		return nil, err
	}
	return rootfs.Applets(program)
}

// staticBusybox is busybox without a dynamic linker, of the package of this
// name. A program of it costs half of the instructions.
const staticBusybox = "busybox-static"

// leaves are the applets that run no other program, and so never one of the
// static busybox's own before one in PATH. Debian builds both with the same
// options for these.
var leaves = strings.Fields(`
	[ [[ ascii basename blkdiscard blockdev cal cat chgrp chmod chown cksum clear cmp comm crc32 cut date dd df diff
	dirname dmesg dos2unix du echo egrep expand expr factor fallocate false fatattr fgrep fold free fsfreeze fstrim fsync
	grep groups head hexdump hostid hostname i2cdetect id ipcalc kill link ln logname losetup ls lsmod lsscsi md5sum mkdir
	mkfifo mknod mkswap mktemp mount mountpoint mv cp nl nproc od paste pidof pivot_root printf ps pwd readlink realpath
	rev rm rmdir rmmod seq sha1sum sha256sum sha3sum sha512sum shred shuf sleep sort stat strings stty swapoff swapon
	sync sysctl tac tail tee test touch tr true truncate ts tty umount uname unexpand uniq unix2dos unlink uptime usleep
	w wc which who whoami xxd yes`)
