package nvdimm_test

import (
	"fmt"
	"log"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
)

func Example() {
	root, err := nvdimm.NewRoot(nvdimm.Config{
		Enabled: true, Memory: 256 << 20, Slots: 2, MaxMem: 4 << 30, Base: 4 << 30, Persistence: "cpu",
	})
	if err != nil {
		log.Fatal(err)
	}
	disk, err := backend.NewRAM(backend.RAMConfig{Size: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	dimm, err := root.Plug(nvdimm.PlugConfig{Backend: disk, LabelSize: 128 << 10})
	if err != nil {
		log.Fatal(err)
	}

	// Power-on: memory and tables for the machine, and the device at the port.
	memory, err := dimm.Map()
	if err != nil {
		log.Fatal(err)
	}
	tables, err := root.Tables(0xffff000)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s in slot %d: %d MiB at %#x\n", dimm.ID(), dimm.Slot(), len(memory)>>20, dimm.Addr())
	for _, t := range tables {
		fmt.Printf("%s\n", t[:4])
	}

	// Power-off.
	if err := dimm.Unmap(); err != nil {
		log.Fatal(err)
	}
	_, err = root.Plug(nvdimm.PlugConfig{Backend: disk})
	fmt.Println(err)
	// Output:
	// nvdimm0 in slot 0: 62 MiB at 0x100000000
	// SSDT
	// NFIT
	// can't use already busy memdev: memory-backend-ram: it is plugged as nvdimm0; a DIMM needs a backend of its own
}
