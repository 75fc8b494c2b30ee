package backend

// Durability is what a backend can guarantee for data that the guest has
// flushed, from the least to the most.
type Durability int

const (
	// Volatile contents end with the VM's power: memory, or share=off.
	Volatile Durability = iota
	// PageCache contents survive the VM and nvlab, and the host only once it
	// wrote back its page cache. Labels are written back at once.
	PageCache
	// MapSync contents are a file's on a DAX file system, mapped with
	// MAP_SYNC: no cache of the host's kernel is between guest and medium.
	MapSync
	// DeviceDAX contents are a device-DAX device's: the one kind that the
	// document calls persistent.
	DeviceDAX
)

func (d Durability) String() string {
	switch d {
	case PageCache:
		return "page-cache"
	case MapSync:
		return "map-sync"
	case DeviceDAX:
		return "device-dax"
	}
	return "volatile"
}

// Promise says it in a sentence's end: "guest writes ...".
func (d Durability) Promise() string {
	switch d {
	case PageCache:
		return "survive the VM, but not a crash of the host before it wrote them back"
	case MapSync:
		return "survive a crash of the host once its CPU caches are flushed (file system with DAX, MAP_SYNC)"
	case DeviceDAX:
		return "survive a crash of the host once its CPU caches are flushed (device DAX)"
	}
	return "are lost at power-off"
}

// Persistent says that the document's suggestion of unarmed does not apply.
func (d Durability) Persistent() bool { return d >= MapSync }
