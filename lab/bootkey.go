package lab

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"nvlab/internal/states"
	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/power"
)

// A bootKey is all that determines what comes of a boot and is known before, but
// for the bytes of NVDIMMs that the guest looks at. What is not named here must
// not reach a guest.
type bootKey struct {
	Program  states.Sum // nvlab itself
	Image    string     // of the guest's files and its pid 1
	Options  VMOptions  // but for those that other fields stand for
	Seed     uint64     // of the machine
	CutSeed  uint64     // of a power cut that was armed before
	Cmdline  string
	Tables   [][]byte // the kernel's own, as they are handed to it
	Nodes    int
	Timeout  time.Duration
	Root     *nvdimm.RootState
	Power    savedPower
	Backends []backendKey // by slot
}

// backendKey is what a backend is to a machine besides its bytes.
type backendKey struct {
	Slot       int
	Same       int    // lowest slot whose backend has the same storage
	Offset     uint64 // in that
	Size       uint64
	Kind       string
	Share      bool
	ReadOnly   bool
	Durability backend.Durability
}

// A savedPower is a power.State that is encoded.
type savedPower struct {
	Model []byte // of persist.ModelState.MarshalBinary; nil while off
	Past  []byte // likewise
	Rest  power.State
}

// bootNames name states of a boot.
type bootNames struct {
	prefix prefixKey
	whole  states.Name // where the agent answers
}

// A prefixKey names the prefix of a boot: by all that determines it, but for what its NFIT
// says.
type prefixKey struct{ Family, Sum states.Sum }

// end names the end of the prefix. Its variant is the NFIT.
func (k *prefixKey) end() states.Name {
	end := func(s states.Sum) states.Sum { return sha256.Sum256(append(s[:len(s):len(s)], "end"...)) }
	return states.Name{Family: end(k.Family), Key: end(k.Sum)}
}

// stage names stage n of the prefix.
func (k *prefixKey) stage(n int) states.Name {
	stage := func(s states.Sum) states.Sum { return sha256.Sum256(fmt.Appendf(s[:len(s):len(s)], "stage %d", n)) }
	return states.Name{Family: stage(k.Family), Key: stage(k.Sum)}
}

// bootNames names the states that a boot of the VM may lead to; false if such a
// boot cannot be taken from elsewhere. The machine is prepared and not yet
// there.
func (v *VM) bootNames(image *image, tables [][]byte, timeout time.Duration) (n bootNames, ok bool) {
	content, known := image.identity()
	if v.x.lab.states == nil || v.engine.Name() != "soft" || v.reads != nil || !known || v.power.On() {
		return n, false
	}
	program, err := states.Program()
	if err != nil {
		return n, false
	}
	before, err := v.power.Save()
	if err != nil {
		return n, false
	}
	saved, err := savePower(before)
	if err != nil {
		return n, false
	}
	k := bootKey{
		Program: program, Image: content, Options: v.opts, Seed: v.seed(),
		CutSeed: powerHost{v}.Seed(), Cmdline: v.cmdline(), Tables: tables, Nodes: v.nodes, Timeout: timeout,
		Root: v.root.Save(), Power: saved,
	}
	o := &k.Options
	o.Seed, o.Kernel, o.Release, o.Packages, o.Engine, o.Cmdline = 0, "", "", nil, "", ""
	dimms := v.NVDIMMs()
	for _, d := range dimms {
		b := d.backend
		if b.contended || b.Durability() == backend.DeviceDAX {
			return n, false
		}
		same := slices.IndexFunc(dimms, func(o *NVDIMM) bool { return o.backend.b.SameStorage(b.b) })
		k.Backends = append(k.Backends, backendKey{
			d.Slot(), dimms[same].Slot(), b.offset, b.Size(), b.Kind(), b.Share(), b.ReadOnly(), b.Durability(),
		})
	}
	// States of one guest on machines of one shape have most pages in common.
	family, err := json.Marshal([]any{k.Program, k.Image, o.Memory})
	if err != nil {
		return n, false
	}
	text, err := json.Marshal(k)
	if err != nil {
		return n, false
	}
	n.whole = states.Name{Family: sha256.Sum256(family), Key: sha256.Sum256(text)}
	n.prefix, err = v.prefixKey(&k, n.whole.Family)
	return n, err == nil
}

// prefixKey is that of the prefix of a boot.
func (v *VM) prefixKey(k *bootKey, family states.Sum) (p prefixKey, err error) {
	o := k.Options
	o.Cap, o.Persistence = nil, ""          // in the NFIT
	o.AllowOops, o.Malformed = false, false // what nvlab makes of faults, of which a prefix has none, and of tables
	text, err := json.Marshal([]any{
		k.Program, k.Image, o, v.earlySeed(), k.Cmdline, withoutNFIT(k.Tables), k.Nodes, k.Timeout, v.root.Memory(), v.pmem(), k.Power,
	})
	return prefixKey{Family: family, Sum: sha256.Sum256(text)}, err
}
