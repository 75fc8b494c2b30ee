package qemutest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nvlab/acpi"
)

// facts are what was observed of one machine, each under a name. What belongs
// to a DIMM has "@" and its handle in the name, as does every device that
// derives from it: nmem@1, region@1, pmem@1.1.
type facts map[string]string

// inventory prints what the guest knows of its NVDIMMs, in sections.
const inventory = `
cd /sys/bus/nd/devices 2>/dev/null && {
	echo "== mappings"; grep -sH '' region*/mapping0
	echo "== handles"; grep -sH '' nmem*/nfit/handle
	echo "== sysfs"; grep -sH '' ndbus*/* ndbus*/nfit/* nmem*/* nmem*/nfit/* region*/* region*/nfit/* namespace*/* btt*/* pfn*/* dax*/*
}
cd /
echo "== list"; ndctl list -DRNBvv
echo "== idle"; ndctl list -DRNBivv
echo "== iomem"; grep -iE 'persistent|namespace|dax|pmem' /proc/iomem
echo "== acpi"; grep -sH '' /sys/bus/acpi/devices/ACPI0012:00/path /sys/bus/acpi/devices/ACPI0012:00/device:*/path /sys/bus/acpi/devices/ACPI0012:00/device:*/adr
echo "== nodes"; grep -sH '' /sys/devices/system/node/possible /sys/devices/system/node/online /sys/devices/system/node/has_memory /sys/devices/system/node/node*/cpulist /sys/devices/system/node/node*/distance /sys/devices/system/node/node*/access0/initiators/*
echo "== memory"; grep -sH '' /sys/bus/acpi/devices/PNP0C80:*/status; cd /sys/devices/system; grep -sH '' memory/memory3[2-9]/* memory/memory[4-9]?/*; ls -d node/node*/memory3[2-9] node/node*/memory[4-9]? 2>/dev/null; cd /
echo "== block"; grep -sH '' /sys/block/pmem*/ro /sys/block/pmem*/size /sys/block/pmem*/dax/write_cache /sys/block/pmem*/queue/dax /sys/block/pmem*/queue/logical_block_size
echo "== dmesg"; dmesg | grep -iE 'nfit|nvdimm|pmem|nd_|btt|dax|NVDR|region[0-9]|ACPI.*(error|exception|warning)'
`

// collect takes the inventory of a running machine.
func collect(s side) (facts, error) {
	f := facts{}
	_, text, stderr, err := s.Run(inventory)
	if err != nil {
		return nil, err
	}
	f.add("inventory/stderr", stderr)
	sections := map[string]string{}
	for section := range strings.SplitSeq(text, "== ") {
		name, body, _ := strings.Cut(section, "\n")
		sections[name] = body
	}
	n := newNames(sections["handles"], sections["mappings"])
	seeds := newSeeds(sections["sysfs"])
	for name, text := range sections {
		sections[name] = seeds.canonical(text)
	}
	for _, name := range []string{"list", "idle"} {
		if err := f.addJSON(name, n.canonical(sections[name])); err != nil {
			return nil, fmt.Errorf("ndctl list in section %s: %w", name, err)
		}
	}
	for _, name := range []string{"sysfs", "acpi", "nodes", "memory", "block"} {
		for line := range strings.Lines(n.canonical(sections[name])) {
			file, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			if strings.Contains(file, "ACPI0012") {
				continue
			}
			f.add(name+"/"+file, value)
		}
	}
	f["acpi"] = sortedLines(regexp.MustCompile(`(?m)^.*/`).ReplaceAllString(n.canonical(sections["acpi"]), ""))
	f["iomem"] = n.canonical(sections["iomem"])
	f.addMessages(n.canonical(sections["dmesg"]))
	devices, err := s.MemoryDevices()
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		f[fmt.Sprintf("query-memory-devices@%d", d.Slot+1)] = fmt.Sprintf("%+v", d)
	}
	table, err := s.ReadFile("/sys/firmware/acpi/tables/NFIT")
	if err != nil {
		f["nfit"] = "absent"
		return f, nil
	}
	return f, f.addNFIT(table)
}

// add appends a line to a fact.
func (f facts) add(name, line string) {
	if old, ok := f[name]; ok {
		line = old + "\n" + line
	}
	f[name] = line
}

// addMessages makes a fact of each line of the kernel's log: their order is a
// matter of timing.
func (f facts) addMessages(text string) {
	for line := range strings.Lines(text) {
		line = regexp.MustCompile(`^\[[ .0-9]*\] `).ReplaceAllString(strings.TrimSpace(line), "")
		if strings.Contains(line, "ommand line: ") {
			continue // each machine's own, and the scenario's
		}
		name := "dmesg"
		if at := regexp.MustCompile(`@\d+`).FindString(line); at != "" {
			name += at
		}
		f[name+": "+line] = "said"
	}
}

// addJSON flattens what ndctl prints: one fact a scalar, list elements by
// their name.
func (f facts) addJSON(prefix, text string) error {
	if strings.TrimSpace(text) == "" {
		f[prefix] = "nothing"
		return nil
	}
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // addresses have more digits than a float
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("%w in %q", err, text)
	}
	f.flatten(prefix, v)
	return nil
}

func (f facts) flatten(at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			f.flatten(at+"/"+key, value)
		}
	case []any:
		f[at+"/length"] = fmt.Sprint(len(v))
		for i, value := range v {
			name := fmt.Sprint(i)
			if object, ok := value.(map[string]any); ok {
				for _, key := range []string{"provider", "dev", "dimm", "chardev"} {
					if s, ok := object[key].(string); ok {
						name = s
						break
					}
				}
			}
			f.flatten(at+"/"+name, value)
		}
	default:
		f[at] = fmt.Sprint(v)
	}
}

// addNFIT decodes the table with what it says field by field.
func (f facts) addNFIT(table []byte) error {
	t, err := acpi.ParseNFIT(table)
	if err != nil {
		return fmt.Errorf("the guest's NFIT: %w", err)
	}
	f["nfit/length"] = fmt.Sprint(len(table))
	f["nfit/revision"] = fmt.Sprint(t.Revision)
	f["nfit/OEM"] = fmt.Sprintf("%q %q", t.OEMID, t.OEMTableID)
	var order []string
	for _, s := range t.Structures {
		name := ""
		switch s := s.(type) {
		case *acpi.SPARange:
			name = fmt.Sprintf("spa@%d", s.Index/2)
		case *acpi.MemoryDevice:
			name = fmt.Sprintf("mapping@%d", s.Handle)
		case *acpi.ControlRegion:
			name = fmt.Sprintf("control@%d", s.Index/2)
		case *acpi.PlatformCapabilities:
			name = "capabilities"
		default:
			name = fmt.Sprintf("%T", s)
		}
		order = append(order, name)
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := f.addJSON("nfit/"+name, string(text)); err != nil {
			return err
		}
	}
	f["nfit/order"] = strings.Join(order, " ")
	return nil
}

// names translates numbers that the guest's kernel gives in its own order
// into the handles of the DIMMs they stand for.
type names struct {
	nmem, region map[string]string // number to handle
}

func newNames(handles, mappings string) *names {
	n := &names{map[string]string{}, map[string]string{}}
	for _, m := range regexp.MustCompile(`nmem(\d+)/nfit/handle:0x([0-9a-f]+)`).FindAllStringSubmatch(handles, -1) {
		var handle uint
		fmt.Sscanf(m[2], "%x", &handle)
		n.nmem[m[1]] = fmt.Sprint(handle)
	}
	for _, m := range regexp.MustCompile(`region(\d+)/mapping0:nmem(\d+),`).FindAllStringSubmatch(mappings, -1) {
		n.region[m[1]] = n.nmem[m[2]]
	}
	return n
}

var (
	deviceName = regexp.MustCompile(`\b(nmem|region|namespace|pmem|dax|btt|pfn)(\d+)`)
	daxRegion  = regexp.MustCompile(`("daxregion":\{\s*"id":)(\d+)`)
	anyUUID    = regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
)

// canonical also drops identifiers that a random number made.
func (n *names) canonical(text string) string {
	text = deviceName.ReplaceAllStringFunc(text, func(s string) string {
		m := deviceName.FindStringSubmatch(s)
		handle, ok := n.region[m[2]]
		if m[1] == "nmem" {
			handle, ok = n.nmem[m[2]]
		}
		if !ok {
			return s
		}
		return m[1] + "@" + handle
	})
	text = daxRegion.ReplaceAllStringFunc(text, func(s string) string {
		m := daxRegion.FindStringSubmatch(s)
		return m[1] + `"@` + n.region[m[2]] + `"`
	})
	return anyUUID.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, fixedUUID) || s == "00000000-0000-0000-0000-000000000000" {
			return s
		}
		return "(random)"
	})
}

// seeds translates the names of the devices that wait to be a region's next
// BTT, page map or DAX device: the kernel's asynchronous probing may use a
// number up and give the device the next.
type seeds map[string]string

var seedName = regexp.MustCompile(`\b(btt|pfn|dax)(\d+)\.(\d+)\b`)

// newSeeds numbers the devices of each kind and region that there are, from 0.
func newSeeds(sysfs string) seeds {
	numbers := map[string][]int{}
	for line := range strings.Lines(sysfs) {
		m := seedName.FindStringSubmatch(line)
		if m == nil || !strings.HasPrefix(line, m[0]) {
			continue
		}
		number, err := strconv.Atoi(m[3])
		if of := m[1] + m[2]; err == nil && !slices.Contains(numbers[of], number) {
			numbers[of] = append(numbers[of], number)
		}
	}
	s := seeds{}
	for of, list := range numbers {
		slices.Sort(list)
		for i, number := range list {
			s[fmt.Sprintf("%s.%d", of, number)] = fmt.Sprintf("%s.%d", of, i)
		}
	}
	return s
}

func (s seeds) canonical(text string) string {
	return seedName.ReplaceAllStringFunc(text, func(name string) string {
		if other, ok := s[name]; ok {
			return other
		}
		return name
	})
}

// fixedUUID begins every UUID that a script chooses.
const fixedUUID = "5eed0000-"

// addScript makes a fact of each command that a script tried.
func (f facts) addScript(handle int, text string) {
	name := fmt.Sprintf("script@%d", handle)
	at, count := name, 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			count++
			at = fmt.Sprintf("%s/%d %s", name, count, command)
			continue
		}
		f.add(at, line)
	}
}

func sortedLines(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

// A difference is a fact on which the sides do not agree; "" is no such fact.
type difference struct{ fact, qemu, nvlab string }

func differences(qemu, nvlab facts) (list []difference) {
	all := maps.Clone(qemu)
	maps.Copy(all, nvlab)
	for _, fact := range slices.Sorted(maps.Keys(all)) {
		if qemu[fact] != nvlab[fact] {
			list = append(list, difference{fact, qemu[fact], nvlab[fact]})
		}
	}
	return list
}
