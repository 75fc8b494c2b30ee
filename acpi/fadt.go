package acpi

// Space is the address space of a generic address (table 5.1).
type Space uint8

// Address spaces.
const (
	SystemMemory Space = 0
	SystemIO     Space = 1
	PCIConfig    Space = 2
)

// GenericAddress is the address of a register, 12 bytes (section 5.2.3.2,
// table 5.1).
type GenericAddress struct {
	Space      Space  // offset 0
	BitWidth   uint8  // offset 1
	BitOffset  uint8  // offset 2
	AccessSize uint8  // offset 3; 0 undefined, 1 byte, 2 word, 3 dword, 4 qword
	Address    uint64 // offset 4
}

var spaceNames = valueNames(map[uint64]string{
	0: "SystemMemory", 1: "SystemIO", 2: "PCI_Config", 3: "EmbeddedControl", 4: "SMBus", 5: "SystemCMOS",
	6: "PciBarTarget", 7: "IPMI", 8: "GPIO", 9: "GenericSerialBus", 10: "PCC", 0x7F: "FunctionalFixedHW",
})

var accessNames = valueNames(map[uint64]string{1: "byte", 2: "word", 3: "dword", 4: "qword"})

func (g *GenericAddress) visit(c *codec, name string) {
	num(c, name+" Space", &g.Space, spaceNames)
	num(c, name+" Bit Width", &g.BitWidth)
	num(c, name+" Bit Offset", &g.BitOffset)
	num(c, name+" Access Size", &g.AccessSize, accessNames)
	num(c, name+" Address", &g.Address)
}

// Flags of the FADT (section 5.2.9, table 5.10).
const (
	FADTWBINVD          = 1 << 0 // WBINVD works and invalidates
	FADTWBINVDFlush     = 1 << 1
	FADTProcC1          = 1 << 2
	FADTPowerButton     = 1 << 4 // the power button is a control method device, or there is none
	FADTSleepButton     = 1 << 5 // likewise
	FADTFixRTC          = 1 << 6 // RTC wake status is not in the fixed registers
	FADTTimer32         = 1 << 8
	FADTResetRegister   = 1 << 10 // ResetRegister and ResetValue are valid
	FADTHeadless        = 1 << 12
	FADTHardwareReduced = 1 << 20 // no fixed hardware: the PM and GPE blocks do not exist
	FADTLowPowerS0      = 1 << 21
)

var fadtFlags = flagNames("WBINVD", "WBINVD_FLUSH", "PROC_C1", "P_LVL2_UP", "PWR_BUTTON", "SLP_BUTTON",
	"FIX_RTC", "RTC_S4", "TMR_VAL_EXT", "DCK_CAP", "RESET_REG_SUP", "SEALED_CASE", "HEADLESS", "CPU_SW_SLP",
	"PCI_EXP_WAK", "USE_PLATFORM_CLOCK", "S4_RTC_STS_VALID", "REMOTE_POWER_ON_CAPABLE",
	"FORCE_APIC_CLUSTER_MODEL", "FORCE_APIC_PHYSICAL_DESTINATION_MODE", "HW_REDUCED_ACPI",
	"LOW_POWER_S0_IDLE_CAPABLE")

// IA-PC boot architecture flags (section 5.2.9.3, table 5.11).
const (
	BootLegacyDevices = 1 << 0 // user-visible devices on an LPC or ISA bus
	Boot8042          = 1 << 1 // there is a keyboard controller
	BootNoVGA         = 1 << 2 // VGA must not be probed
	BootNoMSI         = 1 << 3 // MSI must not be enabled
	BootNoASPM        = 1 << 4
	BootNoCMOSRTC     = 1 << 5 // there is no CMOS RTC
)

var bootFlags = flagNames("LEGACY_DEVICES", "8042", "VGA Not Present", "MSI Not Supported",
	"PCIe ASPM Controls", "CMOS RTC Not Present")

var profileNames = valueNames(map[uint64]string{
	0: "Unspecified", 1: "Desktop", 2: "Mobile", 3: "Workstation", 4: "Enterprise Server", 5: "SOHO Server",
	6: "Appliance PC", 7: "Performance Server", 8: "Tablet",
})

// FADT is the fixed ACPI description table, signature FACP, revision 6, 276
// bytes (section 5.2.9, table 5.9). On hardware-reduced machines all of
// [FixedHardware] is zero.
type FADT struct {
	Header
	FirmwareControl uint32 // offset 36, address of the FACS
	DSDT            uint32 // offset 40; Install fills in DSDT and XDSDT
	Profile         uint8  // offset 45, preferred power management profile
	FixedHardware
	BootFlags        uint16         // offset 109, Boot...
	Flags            uint32         // offset 112, FADT...
	ResetRegister    GenericAddress // offset 116
	ResetValue       uint8          // offset 128
	ARMBootFlags     uint16         // offset 129
	MinorVersion     uint8          // offset 131; the 5 of 6.5
	XFirmwareControl uint64         // offset 132
	XDSDT            uint64         // offset 140
	SleepControl     GenericAddress // offset 244; written SLP_EN and SLP_TYP to enter a sleep state
	SleepStatus      GenericAddress // offset 256
	HypervisorVendor uint64         // offset 268
}

// FixedHardware are the fields of the FADT about registers that a
// hardware-reduced machine does not have (table 5.9).
type FixedHardware struct {
	SCIInterrupt                                       uint16 // offset 46
	SMICommand                                         uint32 // offset 48
	ACPIEnable, ACPIDisable, S4BIOSRequest, PStateCtl  uint8  // offsets 52 to 55
	PM1aEvent, PM1bEvent, PM1aControl, PM1bControl     uint32 // offsets 56 to 68
	PM2Control, PMTimer, GPE0, GPE1                    uint32 // offsets 72 to 84
	PM1EventLen, PM1ControlLen, PM2ControlLen          uint8  // offsets 88 to 90
	PMTimerLen, GPE0Len, GPE1Len, GPE1Base, CStateCtl  uint8  // offsets 91 to 95
	C2Latency, C3Latency, FlushSize, FlushStride       uint16 // offsets 96 to 102
	DutyOffset, DutyWidth, DayAlarm, MonAlarm, Century uint8  // offsets 104 to 108

	XPM1aEvent, XPM1bEvent, XPM1aControl, XPM1bControl GenericAddress // offsets 148 to 184
	XPM2Control, XPMTimer, XGPE0, XGPE1                GenericAddress // offsets 196 to 232
}

// Encode gives the finished table.
func (t FADT) Encode() []byte { return encodeTable(t.Header, "FACP", 6, (*fadtBody)(&t)) }

// ParseFADT decodes a FADT of any revision; fields that it lacks are zero.
func ParseFADT(b []byte) (FADT, error) {
	var t FADT
	err := parseTable(b, "FACP", &t.Header, (*fadtBody)(&t))
	return t, err
}

// Offsets of the addresses that Install fills in.
const (
	fadtDSDT  = 40
	fadtXDSDT = 140
)

type fadtBody FADT

func (t *fadtBody) visit(c *codec) {
	num(c, "FACS Address", &t.FirmwareControl)
	num(c, "DSDT Address", &t.DSDT)
	c.reserved(1)
	num(c, "PM Profile", &t.Profile, profileNames)
	num(c, "SCI Interrupt", &t.SCIInterrupt)
	num(c, "SMI Command Port", &t.SMICommand)
	num(c, "ACPI Enable Value", &t.ACPIEnable)
	num(c, "ACPI Disable Value", &t.ACPIDisable)
	num(c, "S4BIOS Command", &t.S4BIOSRequest)
	num(c, "P-State Control", &t.PStateCtl)
	num(c, "PM1A Event Block", &t.PM1aEvent)
	num(c, "PM1B Event Block", &t.PM1bEvent)
	num(c, "PM1A Control Block", &t.PM1aControl)
	num(c, "PM1B Control Block", &t.PM1bControl)
	num(c, "PM2 Control Block", &t.PM2Control)
	num(c, "PM Timer Block", &t.PMTimer)
	num(c, "GPE0 Block", &t.GPE0)
	num(c, "GPE1 Block", &t.GPE1)
	num(c, "PM1 Event Block Length", &t.PM1EventLen)
	num(c, "PM1 Control Block Length", &t.PM1ControlLen)
	num(c, "PM2 Control Block Length", &t.PM2ControlLen)
	num(c, "PM Timer Block Length", &t.PMTimerLen)
	num(c, "GPE0 Block Length", &t.GPE0Len)
	num(c, "GPE1 Block Length", &t.GPE1Len)
	num(c, "GPE1 Base Offset", &t.GPE1Base)
	num(c, "_CST Support", &t.CStateCtl)
	num(c, "C2 Latency", &t.C2Latency)
	num(c, "C3 Latency", &t.C3Latency)
	num(c, "CPU Cache Flush Size", &t.FlushSize)
	num(c, "CPU Cache Flush Stride", &t.FlushStride)
	num(c, "Duty Cycle Offset", &t.DutyOffset)
	num(c, "Duty Cycle Width", &t.DutyWidth)
	num(c, "RTC Day Alarm Index", &t.DayAlarm)
	num(c, "RTC Month Alarm Index", &t.MonAlarm)
	num(c, "RTC Century Index", &t.Century)
	num(c, "Boot Architecture Flags", &t.BootFlags, bootFlags)
	c.reserved(1)
	num(c, "Flags", &t.Flags, fadtFlags)
	if c.done() { // revision 1 ends here
		return
	}
	t.ResetRegister.visit(c, "Reset Register")
	num(c, "Reset Value", &t.ResetValue)
	num(c, "ARM Boot Flags", &t.ARMBootFlags)
	num(c, "FADT Minor Version", &t.MinorVersion)
	if c.done() { // revision 2
		return
	}
	num(c, "X FACS Address", &t.XFirmwareControl)
	num(c, "X DSDT Address", &t.XDSDT)
	t.XPM1aEvent.visit(c, "X PM1A Event")
	t.XPM1bEvent.visit(c, "X PM1B Event")
	t.XPM1aControl.visit(c, "X PM1A Control")
	t.XPM1bControl.visit(c, "X PM1B Control")
	t.XPM2Control.visit(c, "X PM2 Control")
	t.XPMTimer.visit(c, "X PM Timer")
	t.XGPE0.visit(c, "X GPE0")
	t.XGPE1.visit(c, "X GPE1")
	if c.done() { // revisions 3 and 4
		return
	}
	t.SleepControl.visit(c, "Sleep Control")
	t.SleepStatus.visit(c, "Sleep Status")
	if c.done() { // revision 5
		return
	}
	num(c, "Hypervisor Vendor Identity", &t.HypervisorVendor)
}
