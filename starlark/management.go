package nvstar

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"nvlab/lab"
	"nvlab/nvdimm"
	"nvlab/nvdimm/firmware"
	"nvlab/nvdimm/power"
)

// A word stands for a value in a scenario.
type word[V comparable] struct {
	name  string
	value V
}

func wordsOf[V comparable](list []word[V]) (names []string) {
	for _, w := range list {
		names = append(names, w.name)
	}
	return names
}

func valueOf[V comparable](list []word[V], name string) (v V) {
	for _, w := range list {
		if w.name == name {
			return w.value
		}
	}
	return v
}

var healthWords = []word[firmware.Health]{
	{"ok", firmware.Healthy}, {"non-critical", firmware.NonCritical}, {"critical", firmware.Critical}, {"fatal", firmware.Fatal},
}

var alarmWords = []word[firmware.Alarms]{
	{"spares", firmware.AlarmSpares}, {"media_temperature", firmware.AlarmMediaTemperature}, {"controller_temperature", firmware.AlarmControllerTemperature},
}

var shutdownWords = []word[bool]{{"clean", false}, {"dirty", true}}

// choose sets a value to what a word stands for, if it is given.
func choose[V comparable](c *call, name string, list []word[V], v *V) {
	if s := c.oneOf(name, wordsOf(list)...); s != "" {
		*v = valueOf(list, s)
	}
}

// change sets a number, if it is given.
func change[N uint8 | uint32 | uint64](c *call, name string, high int64, v *N) {
	if n := c.optional(name, 0, high); n != nil {
		*v = N(*n)
	}
}

func changeCelsius(c *call, name string, v *firmware.Temperature) {
	if n := c.optional(name, -firmware.MaxCelsius, firmware.MaxCelsius); n != nil {
		*v = firmware.Celsius(int16(*n))
	}
}

// anyGiven says that an argument differs from None.
func (c *call) anyGiven() bool {
	return slices.ContainsFunc(c.values, func(v starlark.Value) bool { return v != starlark.None })
}

func dimmHealth(c *call, d *dimm) (starlark.Value, error) {
	var now firmware.State
	err := d.d.Manage(func(s *firmware.State) error {
		choose(c, "health", healthWords, &s.SMART.Health)
		choose(c, "shutdown_state", shutdownWords, &s.SMART.Dirty)
		changeCelsius(c, "media_temperature", &s.SMART.MediaTemperature)
		changeCelsius(c, "controller_temperature", &s.SMART.ControllerTemperature)
		change(c, "spares", 100, &s.SMART.Spares)
		change(c, "life_used", 100, &s.SMART.LifeUsed)
		change(c, "shutdown_count", math.MaxUint32, &s.SMART.ShutdownCount)
		if c.given("latched") {
			s.Latched = c.truth("latched")
		}
		if c.given("alarms") {
			s.Held, s.Tripped = 0, 0
			for _, name := range c.texts("alarms") {
				if !slices.Contains(wordsOf(alarmWords), name) && c.err == nil {
					c.err = notOneOf("alarms", name, wordsOf(alarmWords))
				}
				s.Held |= valueOf(alarmWords, name)
			}
		}
		s.Watch()
		now = *s
		return c.err
	})
	if err != nil {
		return nil, err
	}
	if c.anyGiven() {
		d.d.NotifyHealth()
	}
	r := now.Reported()
	var alarms []starlark.Value
	for _, w := range alarmWords {
		if now.Alarms()&w.value != 0 {
			alarms = append(alarms, text(w.name))
		}
	}
	return record(starlark.StringDict{
		"health":                 text(nameOf(healthWords, r.Health)),
		"media_temperature":      starlark.MakeInt(r.MediaTemperature.Degrees()),
		"controller_temperature": starlark.MakeInt(r.ControllerTemperature.Degrees()),
		"spares":                 starlark.MakeInt(int(r.Spares)),
		"life_used":              starlark.MakeInt(int(r.LifeUsed)),
		"shutdown_count":         unsigned(uint64(r.ShutdownCount)),
		"shutdown_state":         text(nameOf(shutdownWords, r.Dirty)),
		"alarms":                 starlark.NewList(alarms),
		"latched":                starlark.Bool(now.Latched),
	}), nil
}

func nameOf[V comparable](list []word[V], v V) string {
	for _, w := range list {
		if w.value == v {
			return w.name
		}
	}
	return ""
}

func dimmSecurity(c *call, d *dimm) (starlark.Value, error) {
	var s firmware.Security
	err := d.d.Manage(func(state *firmware.State) error {
		s = state.Security
		return nil
	}, firmware.Intel)
	if err != nil {
		return nil, err
	}
	return record(starlark.StringDict{
		"state":  text(s.Word()),
		"frozen": starlark.Bool(s.Frozen),
		"master": starlark.Bool(s.Master),
	}), nil
}

func dimmLock(c *call, d *dimm) (starlark.Value, error) {
	return nil, d.d.Manage(func(s *firmware.State) error {
		if !s.Security.Lock() {
			return fmt.Errorf("nvdimm %q has no passphrase: nothing locks it", d.d.ID())
		}
		return nil
	}, firmware.Intel)
}

func dimmFirmware(c *call, d *dimm) (starlark.Value, error) {
	var faults []string
	for _, f := range firmware.Faults {
		faults = append(faults, string(f))
	}
	var u firmware.Update
	err := d.d.Manage(func(s *firmware.State) error {
		change(c, "running", math.MaxInt64, &s.Update.Running)
		change(c, "staged", math.MaxInt64, &s.Update.Staged)
		change(c, "image", math.MaxInt64, &s.Update.Next)
		if c.given("fault") {
			s.Update.Fault = firmware.Fault(c.oneOf("fault", append(faults, "none")...))
			if s.Update.Fault == "none" {
				s.Update.Fault = firmware.NoFault
			}
		}
		u = s.Update
		return c.err
	}, firmware.Intel)
	if err != nil {
		return nil, err
	}
	var staged starlark.Value = starlark.None
	if u.Staged != 0 {
		staged = unsigned(u.Staged)
	}
	return record(starlark.StringDict{
		"running":  unsigned(u.Running),
		"staged":   staged,
		"state":    text(u.Word()),
		"received": unsigned(uint64(u.Received)),
		"fault":    textOrNone(string(u.Fault)),
	}), nil
}

func dimmPoison(c *call, d *dimm) (starlark.Value, error) {
	r := firmware.PoisonedRange{Offset: c.size("offset"), Length: c.size("length"), Latent: c.truth("latent"), Stuck: c.truth("stuck")}
	if c.err != nil {
		return nil, c.err
	}
	return nil, d.d.Poison(r)
}

func dimmHeal(c *call, d *dimm) (starlark.Value, error) {
	offset, length := c.size("offset"), c.size("length")
	if c.err != nil {
		return nil, c.err
	}
	return nil, d.d.Heal(offset, length)
}

func dimmPoisoned(d *dimm) (starlark.Value, error) {
	return listOf(d.d.Poisoned(), func(r firmware.PoisonedRange) starlark.Value {
		return record(starlark.StringDict{
			"offset": unsigned(r.Offset), "length": unsigned(r.Length), "latent": starlark.Bool(r.Latent),
		})
	}), nil
}

// The scrub of a machine with ars=True.
var defaultARS = firmware.ARSConfig{Duration: time.Second, Records: firmware.MaxRecords, ClearUnit: 256}

// ars is whether a machine has functions for errors of the media, or a struct
// of how it has them.
func (c *call) ars(name string) *firmware.ARSConfig {
	config := defaultARS
	switch v := c.value(name).(type) {
	case nil:
	case starlark.Bool:
		if v {
			return &config
		}
	case *starlarkstruct.Struct:
		for _, field := range v.AttrNames() {
			value, _ := v.Attr(field)
			c.arsField(name, field, value, &config)
		}
		return &config
	default:
		c.wrong(name, v, "bool or struct(seconds, records, clear_unit)")
	}
	return nil
}

func (c *call) arsField(name, field string, v starlark.Value, config *firmware.ARSConfig) {
	fields := []string{"seconds", "records", "clear_unit"}
	if c.err == nil && !slices.Contains(fields, field) {
		c.err = fmt.Errorf("%s has no field %s: its fields are %s%s", name, field, strings.Join(fields, ", "), didYouMean(field, fields))
	}
	if f, ok := v.(starlark.Float); ok && field == "seconds" && f >= 0 && float64(f) <= maxDuration.Seconds() {
		config.Duration = time.Duration(float64(f) * float64(time.Second))
		return
	}
	i, ok := v.(starlark.Int)
	n, fits := i.Int64()
	switch {
	case c.err != nil:
	case !ok:
		c.err = fmt.Errorf("%s.%s = %s: got %s, want int", name, field, brief(v), v.Type())
	case !fits || n < 0 || n > math.MaxInt32 || field == "seconds" && n > int64(maxDuration.Seconds()):
		c.err = fmt.Errorf("%s.%s = %s: out of range", name, field, brief(v))
	case field == "seconds":
		config.Duration = time.Duration(n) * time.Second
	case field == "records":
		config.Records = int(n)
	case field == "clear_unit":
		config.ClearUnit = uint32(n)
	}
}

// dsmFail makes a function of a DIMM, or of the root device, fail.
func dsmFail(c *call, d *dimm) (starlark.Value, error) {
	f := lab.CallFault{
		Status: uint32(c.number("status", 0, math.MaxUint32)),
		Nth:    int(c.number("nth", 1, math.MaxInt32)),
		Times:  int(c.number("times", 1, math.MaxInt32)),
	}
	f.Status |= uint32(c.number("extended", 0, math.MaxUint16)) << 16
	if c.given("delay") {
		f.Delay = c.duration("delay")
	}
	if c.given("short") {
		f.Short = uint32(c.number("short", 4, math.MaxInt32))
	}
	c.dsmFunction("function", d, &f)
	if c.err == nil && f.Status == 0 && f.Delay == 0 && f.Short == 0 {
		c.err = errors.New("status = 0: at least 1, unless delay or short is given: the call would succeed")
	}
	if c.err != nil {
		return nil, c.err
	}
	f.Obeyed = f.Status == 0
	return nil, d.d.Fail(f)
}

// dsmFunction is which function the argument of that name names.
func (c *call) dsmFunction(name string, d *dimm, f *lab.CallFault) {
	family := d.d.Family()
	if family != nil {
		f.Family = family.Number
	}
	if _, isText := c.value(name).(starlark.String); !isText {
		f.Function = uint32(c.number(name, 0, 31))
		return
	}
	want := c.text(name)
	names := []string{"fit"}
	if want == "fit" {
		f.Of, f.Function = power.OfFIT, nvdimm.FuncReadFIT
		return
	}
	for _, of := range []struct {
		device power.Device
		family *firmware.Family
		labels bool
	}{
		{power.OfDIMM, family, false},
		{power.OfDIMM, firmware.Intel, true}, // of the labels all families have those of Intel's
		{power.OfRoot, firmware.Root, false},
		{power.OfRoot, firmware.Activation, false},
	} {
		if of.family == nil || of.family == firmware.Root && !d.vm.v.HasARS() {
			continue
		}
		for _, fn := range of.family.Functions {
			if of.labels && !fn.OfLabels() {
				continue
			}
			if fn.Name == want || fn.Also == want {
				f.Of, f.Function = of.device, fn.Number
				if of.device == power.OfRoot {
					f.Family = of.family.Number
				}
				return
			}
			names = append(names, fn.Name)
		}
	}
	if c.err == nil {
		slices.Sort(names)
		c.err = fmt.Errorf("%s = %q: want a number, or one of %s%s", name, want, strings.Join(slices.Compact(names), ", "), didYouMean(want, names))
	}
}
