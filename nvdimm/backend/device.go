package backend

import (
	"fmt"
	"io/fs"
	"nvlab/internal/option"
	"nvlab/internal/units"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// daxDevice is what sysfs says of a device-DAX device (Linux
// Documentation/ABI/testing/sysfs-bus-dax).
type daxDevice struct {
	size  uint64 // bytes
	align uint64 // of mappings, bytes
}

// defaultDAXAlign is that of a kernel that does not tell.
const defaultDAXAlign = 2 << 20

// readDAX looks a character device up below sysfs, by its number.
func readDAX(sysfs, path string, major, minor uint32) (daxDevice, error) {
	dir := filepath.Join(sysfs, "dev/char", fmt.Sprintf("%d:%d", major, minor))
	bus, err := filepath.EvalSymlinks(filepath.Join(dir, "subsystem"))
	if err != nil || filepath.Base(bus) != "dax" {
		return daxDevice{}, fmt.Errorf("%s: is no device-DAX device: path must name a regular file or one like /dev/dax0.0", path)
	}
	d := daxDevice{align: defaultDAXAlign}
	if d.size, err = sysfsNumber(filepath.Join(dir, "size")); err != nil {
		return daxDevice{}, fmt.Errorf("%s: its size is not known: %w", path, err)
	}
	// The device has it since Linux 5.10, its region before.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return daxDevice{}, err
	}
	for _, name := range []string{filepath.Join(dir, "align"), filepath.Join(filepath.Dir(dir), "dax_region/align")} {
		if n, err := sysfsNumber(name); err == nil && n >= PageSize && n&(n-1) == 0 {
			d.align = n
			break
		}
	}
	return d, nil
}

func sysfsNumber(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds %q, which is no number", path, text)
	}
	return n, nil
}

// openDAX makes a backend of a device-DAX device.
func (c FileConfig) openDAX(info fs.FileInfo) (*Backend, error) {
	major, minor, ok := deviceNumber(info)
	if !ok {
		return nil, fmt.Errorf("%s: device DAX is for Linux on x86-64", c.Path)
	}
	sysfs := c.sysfs
	if sysfs == "" {
		sysfs = "/sys"
	}
	d, err := readDAX(sysfs, c.Path, major, minor)
	if err != nil {
		return nil, err
	}
	align := max(c.Align, PageSize)
	switch {
	case !c.Share:
		return nil, &option.Error{Err: fmt.Errorf("%s: a device-DAX device can only be shared", c.Path), Option: "share", Want: true}
	case c.Offset%d.align != 0:
		return nil, fmt.Errorf("%s: offset %#x must be a multiple of the device's alignment %#x", c.Path, c.Offset, d.align)
	case d.align > align:
		return nil, fmt.Errorf("%s: backing store align %#x is larger than 'align' option %#x: give align=%s", c.Path, d.align, align, units.Size(d.align))
	case c.Size%d.align != 0:
		return nil, fmt.Errorf("%s: size %#x must be a multiple of the device's alignment %#x", c.Path, c.Size, d.align)
	}
	if err := c.fits(d.size, "a device has the size it has"); err != nil {
		return nil, err
	}
	store, err := openDevice(c.Path, int64(c.Offset+c.Size), c.ReadOnly)
	if err != nil {
		return nil, err
	}
	store.skip(int64(c.Offset))
	return &Backend{store: store, durability: DeviceDAX, options: options{
		path: c.Path, file: info, offset: c.Offset, share: true, readOnly: c.ReadOnly, size: int64(c.Size), align: align, kind: shared,
	}}, nil
}
