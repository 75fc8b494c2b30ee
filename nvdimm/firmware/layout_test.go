package firmware

import (
	"encoding/binary"
	"reflect"
	"testing"
)

// TestLayouts holds sizes and offsets of what travels to those of the
// specifications: a reply that is a byte short is read as zeros from there on.
func TestLayouts(t *testing.T) {
	for _, c := range []struct {
		of      any
		size    int
		offsets map[string]int
	}{
		{smartReply{}, 132, map[string]int{"Valid": 4, "Health": 12, "Spares": 13, "LifeUsed": 14, "Alarms": 15, "MediaTemperature": 16, "ControllerTemperature": 18, "ShutdownCount": 20, "AITStatus": 24, "PMICTemperature": 25, "ShutdownState": 35, "VendorSize": 36, "Vendor": 40}},
		{thresholds{}, 7, map[string]int{"Spares": 2, "MediaTemperature": 3, "ControllerTemperature": 5}},
		{thresholdsReply{}, 12, map[string]int{"Thresholds": 4}},
		{injection{}, 15, map[string]int{"SetMedia": 8, "MediaTemperature": 9, "SetSpares": 11, "Spares": 12, "SetFatal": 13, "SetUnsafeShutdown": 14}},
		{updateInfo{}, 44, map[string]int{"StorageSize": 4, "MaxSend": 8, "QueryInterval": 12, "MaxQueryTime": 16, "Capability": 20, "FISVersion": 24, "Running": 28, "Updated": 36}},
		{versionReply{}, 12, map[string]int{"Version": 4}},
		{contextReply{}, 8, map[string]int{"Context": 4}},
		{finish{}, 8, map[string]int{"Context": 4}},
		{securityReply{}, 12, map[string]int{"Extended": 4, "State": 8}},
		{activateInfo{}, 14, map[string]int{"Result": 4, "State": 6}},
		{busInfo{}, 40, map[string]int{"State": 6, "Capability": 7, "Activate": 8, "CPUQuiesce": 16, "IOQuiesce": 24, "MaxQuiesce": 32}},
		{msftReply{}, 13, map[string]int{"Health": 4, "Temperature": 6, "Errors": 8, "Warnings": 9, "LifeLeft": 10, "Uncorrected": 11, "Corrected": 12}},
		{hypervReply{}, 8, map[string]int{"Value": 4}},
		{hpe1Reply{}, 128, map[string]int{"Valid": 4, "Health": 8, "Temperature": 9, "Spares": 11, "Alarms": 12, "LifeUsed": 14, "Shutdown": 15}},
		{hpe1ThresholdsReply{}, 36, map[string]int{"Alarms": 4, "Temperature": 6, "Spares": 8}},
		{capReply{}, 16, map[string]int{"MaxOutput": 4, "ClearUnit": 8, "Flags": 12}},
		{startInput{}, 24, map[string]int{"Type": 16, "Flags": 18}},
		{statusReply{}, statusHeader, map[string]int{"Output": 4, "Addr": 8, "Length": 16, "RestartAddr": 24, "RestartLength": 32, "Type": 40, "Flags": 42, "Records": 44}},
		{statusRecord{}, recordSize, map[string]int{"Addr": 8, "Length": 16}},
		{clearReply{}, 16, map[string]int{"Cleared": 8}},
		{translateReply{}, 36, map[string]int{"Flags": 4, "Length": 8, "NumNVDIMMs": 16, "Handle": 20, "DPA": 28}},
		{injectInput{}, 17, map[string]int{"Options": 16}},
	} {
		kind := reflect.TypeOf(c.of)
		if got := binary.Size(c.of); got != c.size {
			t.Errorf("%v has %d bytes, want %d", kind, got, c.size)
		}
		at := 0
		for i := range kind.NumField() {
			f := kind.Field(i)
			if want, ok := c.offsets[f.Name]; ok && at != want {
				t.Errorf("%v.%s is at %d, want %d", kind, f.Name, at, want)
			}
			delete(c.offsets, f.Name)
			at += binary.Size(reflect.Zero(f.Type).Interface())
		}
		for name := range c.offsets {
			t.Errorf("%v has no field %s", kind, name)
		}
	}
}

// TestTables: numbers and names of functions are unique, and every one says
// where it is from.
func TestTables(t *testing.T) {
	for _, f := range append([]*Family{Root, Activation}, Families...) {
		numbers, names := map[uint32]bool{}, map[string]bool{}
		for _, fn := range f.Functions {
			if fn.Number == 0 || fn.Number > 31 || numbers[fn.Number] || names[fn.Name] || fn.Also != "" && names[fn.Also] || fn.Name == fn.Also || fn.Source == "" {
				t.Errorf("family %s, function %d %q: want a number of its own from 1 to 31, names of its own and a source", f.Name, fn.Number, fn.Name)
			}
			numbers[fn.Number], names[fn.Name], names[fn.Also] = true, true, true
			if f.Named(fn.Name) != f.Function(fn.Number) || fn.Also != "" && f.Named(fn.Also) != f.Function(fn.Number) {
				t.Errorf("family %s: %q is not found as function %d", f.Name, fn.Name, fn.Number)
			}
		}
	}
	for _, c := range []struct {
		family *Family
		device bool
		want   uint32
	}{{Intel, true, 0x7ffff47f}, {Intel, false, 0x7ffff40f}, {MSFT, false, 1 | 1<<11}, {HyperV, true, 7}, {HPE1, true, 7}, {Root, true, 0x3bf}, {Activation, true, 7}} {
		if got := c.family.Mask(c.device); got != c.want {
			t.Errorf("mask of %s, the device's own functions there: %v = %#x, want %#x", c.family.Name, c.device, got, c.want)
		}
	}
}
