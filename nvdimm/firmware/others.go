package firmware

// MSFT is the family of modules that follow Microsoft's "NVDIMM-N" interface.
var MSFT = &Family{
	Name: "msft", UUID: "1ee68b36-d4bd-4a1a-9a16-4f8e53d46e05", Number: NumberMSFT, Revisions: 1,
	Functions: []Function{
		{11, "smart", "get_health", "ndctl msft.h NDN_MSFT_CMD_SMART", msftSMART},
	},
}

// msftReply is the reply of function 11 (ndctl msft.h, struct
// ndn_msft_smart_data), 13 bytes.
type msftReply struct {
	Status      Status
	Health      uint16 // at 4: not 0 is critical
	Temperature uint16 // at 6, °C
	Errors      uint8  // at 8: thresholds of errors that were crossed; not 0 is critical
	Warnings    uint8  // at 9: thresholds of warnings; not 0 is non-critical
	LifeLeft    uint8  // at 10, percent; 0 is fatal
	Uncorrected uint8  // at 11
	Corrected   uint8  // at 12
}

// Bits of msftReply.Errors and Warnings (ndctl msft.c).
const (
	msftSpares      = 1 << 0
	msftTemperature = 1 << 2
	msftOther       = 1 << 3 // ours: ndctl reads it as no alarm

	// How many bits are set is how bad it is, to ndctl before 76.
	msftCritical = 0b11
	msftFatal    = 0b111
)

func msftSMART(x *exchange) any {
	r, alarms := x.s.Reported(), x.s.takeAlarms()
	reply := msftReply{
		Temperature: uint16(max(r.MediaTemperature.Degrees(), 0)),
		LifeLeft:    100 - min(r.LifeUsed, 100),
		Warnings:    bit(alarms&AlarmSpares != 0)*msftSpares | bit(alarms&AlarmControllerTemperature != 0)*msftTemperature,
	}
	switch {
	case r.Health&Fatal != 0:
		reply.LifeLeft, reply.Health = 0, msftFatal
	case r.Health&Critical != 0:
		reply.Health = msftCritical
	case r.Health&NonCritical != 0:
		reply.Warnings |= msftOther
	}
	for _, p := range x.s.Poison {
		if !p.Latent && reply.Uncorrected < 0xff {
			reply.Uncorrected++
		}
	}
	return reply
}

// HyperV is the family of the virtual modules of Hyper-V.
var HyperV = &Family{
	Name: "hyperv", UUID: "5746c5f2-a9a2-4264-ad0e-e4ddc9e09e80", Number: NumberHyperV, Revisions: 1,
	Functions: []Function{
		{1, "smart", "get_health", "ndctl hyperv.h ND_HYPERV_CMD_GET_HEALTH_INFO", hypervHealth},
		{2, "shutdown_count", "get_shutdown_info", "ndctl hyperv.h ND_HYPERV_CMD_GET_SHUTDOWN_INFO", hypervShutdown},
	},
}

// hypervReply is the reply of both functions (ndctl hyperv.h).
type hypervReply struct {
	Status Status
	Value  uint32 // at 4: bits of health, or a count
}

// Bits of Hyper-V's health (ndctl hyperv.h, ND_HYPERV_HEALTH_*).
const (
	hypervCritical    = 1 << 0
	hypervFatal       = 1 << 2
	hypervNonCritical = 1 << 3
)

func hypervHealth(x *exchange) any {
	h := x.s.Reported().Health
	return hypervReply{Value: uint32(bit(h&Critical != 0)*hypervCritical | bit(h&Fatal != 0)*hypervFatal | bit(h&NonCritical != 0)*hypervNonCritical)}
}

func hypervShutdown(x *exchange) any {
	return hypervReply{Value: x.s.Reported().ShutdownCount}
}

// HPE1 is the family of HPE's first modules.
var HPE1 = &Family{
	Name: "hpe1", UUID: "9002c334-acf3-4c0e-9642-a235f0d53bc6", Number: NumberHPE1, Revisions: 1,
	Functions: []Function{
		{1, "smart", "", "ndctl hpe1.h NDN_HPE1_CMD_SMART", hpe1SMART},
		{2, "smart_thresh", "smart_threshold", "ndctl hpe1.h NDN_HPE1_CMD_SMART_THRESHOLD", hpe1Thresholds},
	},
}

// hpe1Reply is the reply of function 1 (ndctl hpe1.h, struct
// ndn_hpe1_smart_data), 128 bytes.
type hpe1Reply struct {
	Status      Status
	Valid       uint32 // at 4: which of the fields are
	Health      Health // at 8
	Temperature uint16 // at 9, 1/16 °C
	Spares      uint8  // at 11, percent
	Alarms      uint16 // at 12
	LifeUsed    uint8  // at 14, percent
	Shutdown    uint8  // at 15: bit 1 alone is clean
	_           [112]byte
}

// Bits of hpe1Reply.Valid, of the alarms and of Shutdown (ndctl hpe1.h).
const (
	hpe1Valid       = 0x3f // health, temperature, spares, alarms, life used, shutdown
	hpe1Temperature = 1 << 0
	hpe1Spares      = 1 << 1
	hpe1SaveGood    = 1 << 1 // of Shutdown
)

func hpe1Alarms(a Alarms) uint16 {
	return uint16(bit(a&AlarmMediaTemperature != 0)*hpe1Temperature | bit(a&AlarmSpares != 0)*hpe1Spares)
}

// hpe1SMART gives what is asked for: the input has bits as Valid.
func hpe1SMART(x *exchange) any {
	r := x.s.Reported()
	return hpe1Reply{
		Valid:       hpe1Valid & decode[uint32](x.in),
		Health:      r.Health,
		Temperature: r.MediaTemperature.word(),
		Spares:      r.Spares,
		Alarms:      hpe1Alarms(x.s.takeAlarms()),
		LifeUsed:    r.LifeUsed,
		Shutdown:    bit(!r.Dirty) * hpe1SaveGood,
	}
}

// hpe1ThresholdsReply is the reply of function 2 (ndctl hpe1.h, struct
// ndn_hpe1_smart_threshold_data), 36 bytes.
type hpe1ThresholdsReply struct {
	Status      Status
	Alarms      uint16 // at 4: that are watched
	Temperature uint16 // at 6, 1/16 °C
	Spares      uint8  // at 8, percent
	_           [27]byte
}

func hpe1Thresholds(x *exchange) any {
	t := x.s.Thresholds
	return hpe1ThresholdsReply{Alarms: hpe1Alarms(t.Enabled), Temperature: t.MediaTemperature.word(), Spares: t.Spares}
}
