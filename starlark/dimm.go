package nvstar

import (
	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm"
)

// A dimm is a plugged NVDIMM.
type dimm struct {
	vm *vm
	d  *lab.NVDIMM
	of *backend
	made
}

func (d *dimm) alive() error                             { return d.vm.alive() }
func (d *dimm) Type() string                             { return "nvdimm" }
func (d *dimm) Attr(name string) (starlark.Value, error) { return dimmClass.attr(d, name) }
func (d *dimm) AttrNames() []string                      { return dimmClass.attrNames() }

var dimmClass = newClass("nvdimm", "A plugged NVDIMM.", []member[*dimm]{
	{name: "id", doc: `Its name.`,
		get: func(d *dimm) (starlark.Value, error) { return text(d.d.ID()), nil }},
	{name: "slot", doc: `Its memory slot, from 0.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.MakeInt(d.d.Slot()), nil }},
	{name: "addr", doc: `Its guest-physical address; that of the set if it is interleaved.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.Addr()), nil }},
	{name: "size", doc: `Bytes of persistent memory, without the label area.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.Size()), nil }},
	{name: "label_size", doc: `Bytes of its label area; 0 if it has none.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.LabelSize()), nil }},
	{name: "unarmed", doc: `Whether the guest is told that writes do not persist.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.Bool(d.d.Unarmed()), nil }},
	{name: "node", doc: `Its NUMA node.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.MakeInt(d.d.Node()), nil }},
	{name: "uuid", doc: `The UUID it was plugged with; None if none was given.`,
		get: func(d *dimm) (starlark.Value, error) { return textOrNone(d.d.UUID()), nil }},
	{name: "handle", doc: `Its NFIT device handle.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(uint64(d.d.Handle())), nil }},
	{name: "serial", doc: `Its serial number in the NFIT.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(uint64(d.d.Serial())), nil }},
	{name: "flush_hint_writes", doc: `How often the guest wrote one of its flush hints since it booted.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.FlushHintWrites()), nil }},
	{name: "backend", doc: `What stores its bytes → backend.`,
		get: func(d *dimm) (starlark.Value, error) { return d.of, nil }},
	{name: "family", doc: `Whose _DSM it speaks: "intel", "msft", "hyperv" or "hpe1"; None if it has labels only.`,
		get: func(d *dimm) (starlark.Value, error) {
			if f := d.d.Family(); f != nil {
				return text(f.Name), nil
			}
			return starlark.None, nil
		}},
	{name: "fail", sig: `(function, *, status=4, extended=0, nth=1, times=1, delay=None, short=None)`,
		doc: `The nth matching _DSM call from now on fails with that status, and those after it until times have failed. function is a name or the number of a function of the NVDIMM's family: "label_size", "get_label", "set_label", "smart", "inject_smart"... as ndctl's library and Linux name them, of the root device "ars_cap", "ars_start", "ars_status", "clear_error"..., or "fit", the reading of _FIT, of all NVDIMMs; a wrong name shows all. extended is the extended status, the high half of the word.

delay: the reply comes that much later, in guest time; short: it ends after so many bytes. With status=0 the call does not fail and is only late or short.`,
		call: dsmFail},
	{name: "tear", sig: `(bytes, *, nth=1)`,
		doc:  `The nth label write from now on stops after that many bytes and fails with status 4.`,
		call: dsmTear},
	{name: "health", sig: `(*, health=None, media_temperature=None, controller_temperature=None, spares=None, life_used=None, shutdown_count=None, shutdown_state=None, alarms=None, latched=None)`,
		doc:  `What the NVDIMM says of its health → struct(health, media_temperature, controller_temperature, spares, life_used, shutdown_count, shutdown_state, alarms, latched). What is given is set first, and the guest is told. health is "ok", "non-critical", "critical" or "fatal", temperatures are in °C, spares and life_used in percent, shutdown_state is "clean" or "dirty". alarms is a list of "spares", "media_temperature" and "controller_temperature": those stay until alarms is given again; one that a threshold of the guest's sets off stays until the guest reads it. latched: an unsafe shutdown is going to be counted, as the guest can ask for. Values that the guest injected stand for those set here.`,
		call: dimmHealth},
	{name: "poison", sig: `(offset, length=64, *, latent=False, stuck=False)`,
		doc:  `Makes bytes of the medium unreadable, in whole lines of 64 bytes; offset is as of backend.bytes. Latent ones are known to no one before a full scrub finds them. stuck: clearing does not repair them. The machine must have ars.`,
		call: dimmPoison},
	{name: "heal", sig: `(offset, length)`,
		doc:  `Repairs bytes of the medium, behind the guest's back.`,
		call: dimmHeal},
	{name: "poisoned", doc: `What cannot be read → list of struct(offset, length, latent), by offset.`,
		get: dimmPoisoned},
	{name: "security", sig: `()`,
		doc:  `The security state → struct(state, frozen, master). state is "disabled", "unlocked", "locked", "frozen" or "overwrite"; master: whether there is a master passphrase.`,
		call: dimmSecurity},
	{name: "lock", sig: `()`,
		doc:  `Locks an NVDIMM that has a passphrase, as a power cycle does. Its memory is not there until it is unlocked: it reads as ones. The guest's driver sees that at its next look.`,
		call: dimmLock},
	{name: "firmware", sig: `(*, running=None, staged=None, image=None, fault=None)`,
		doc:  `The NVDIMM's own firmware → struct(running, staged, state, received, fault). What is given is set first: the versions that run and wait, ints; image, the version of the image that the guest sends next, one more than the running one if never given; and what goes wrong: "busy" (no update is started), "bad_image" (it fails its check), "activation" (the new firmware does not start), "need_reset" (it starts at a power-on only), or "none". state is "idle", "receiving", "verifying", "staged", "armed" or "activating"; received: bytes of the image.`,
		call: dimmFirmware},
	{name: "flags", sig: `(*, save_fail=False, restore_fail=False, flush_fail=False, not_armed=False, smart_event=False, smart_notify=False, map_fail=False)`,
		doc: `The NFIT's state flags of this NVDIMM from the next boot on. With map_fail the firmware maps no memory.`,
		call: func(c *call, d *dimm) (starlark.Value, error) {
			state := nvdimm.State{
				SaveFail:    c.truth("save_fail"),
				RestoreFail: c.truth("restore_fail"),
				FlushFail:   c.truth("flush_fail"),
				NotArmed:    c.truth("not_armed"),
				SMARTEvent:  c.truth("smart_event"),
				SMARTNotify: c.truth("smart_notify"),
				MapFail:     c.truth("map_fail"),
			}
			if c.err != nil {
				return nil, c.err
			}
			d.d.SetState(state)
			return nil, nil
		}},
})
