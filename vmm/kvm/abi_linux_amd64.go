package kvm

//lint:file-ignore U1000 structures have the fields that the kernel gives them

// Linux's KVM interface: include/uapi/linux/kvm.h and
// arch/x86/include/uapi/asm/kvm.h; Documentation/virt/kvm/api.rst says what it
// means. Sizes are checked in abi_unsafe_linux_amd64.go.

const apiVersion = 12

// Requests of the device, of a machine and of a processor.
const (
	reqAPIVersion     = 0xae00
	reqCreateVM       = 0xae01
	reqCheckExtension = 0xae03
	reqRunSize        = 0xae04
	reqSupportedCPUID = 0xc008ae05
	reqMSRIndexList   = 0xc004ae02

	reqCreateVCPU     = 0xae41
	reqDirtyLog       = 0x4010ae42
	reqSetMemory      = 0x4020ae46
	reqSetTSSAddr     = 0xae47
	reqSetIdentityMap = 0x4008ae48
	reqSetClock       = 0x4030ae7b
	reqGetClock       = 0x8030ae7c
	reqFilterMSRs     = 0x4188aec6
	reqSetRouting     = 0x4008ae6a
	reqEnableCap      = 0x4068aea3
	reqSignalMSI      = 0x4020aea5
	reqClearDirtyLog  = 0xc018aec0

	reqRun           = 0xae80
	reqGetRegs       = 0x8090ae81
	reqSetRegs       = 0x4090ae82
	reqGetSregs      = 0x8138ae83
	reqSetSregs      = 0x4138ae84
	reqGetMSRs       = 0xc008ae88
	reqSetMSRs       = 0x4008ae89
	reqSetCPUID      = 0x4008ae90
	reqGetLAPIC      = 0x8400ae8e
	reqSetLAPIC      = 0x4400ae8f
	reqGetMPState    = 0x8004ae98
	reqSetMPState    = 0x4004ae99
	reqGetEvents     = 0x8040ae9f
	reqSetEvents     = 0x4040aea0
	reqGetDebugRegs  = 0x8080aea1
	reqSetDebugRegs  = 0x4080aea2
	reqTSCKHz        = 0xaea3
	reqGetXSAVE      = 0x9000aea4
	reqSetXSAVE      = 0x5000aea5
	reqGetXCRs       = 0x8188aea6
	reqSetXCRs       = 0x4188aea7
	reqSetDeviceAttr = 0x4018aee1
	reqGetDeviceAttr = 0x4018aee2
)

// Capabilities.
const (
	capUserMemory    = 3
	capSetTSSAddr    = 4
	capExtCPUID      = 7
	capNrMemslots    = 10
	capMPState       = 14
	capIRQRouting    = 25
	capAdjustClock   = 39
	capVCPUEvents    = 41
	capDebugRegs     = 50
	capXSAVE         = 55
	capXCRs          = 56
	capGetTSCKHz     = 61
	capMaxVCPUs      = 66
	capTSCDeadline   = 72
	capSignalMSI     = 77
	capReadOnlyMem   = 81
	capEnableCapVM   = 98
	capSplitIRQChip  = 121
	capImmediateExit = 136
	capClearDirtyLog = 168
	capUserSpaceMSR  = 188
	capFilterMSRs    = 189
)

// Exit reasons.
const (
	exitIO            = 2
	exitDebug         = 4
	exitHLT           = 5
	exitMMIO          = 6
	exitShutdown      = 8
	exitFailEntry     = 9
	exitIntr          = 10
	exitInternalError = 17
	exitIOAPICEOI     = 26
	exitWriteMSR      = 30
)

// internalEmulation is the suberror of exitInternalError that says that KVM
// cannot emulate an instruction.
const internalEmulation = 1

// filteredMSRs is the reason of an exit for an MSR that a filter denies, and
// deniesWrites a range of a filter.
const (
	filteredMSRs = 1 << 2
	deniesWrites = 1 << 1
)

// Memory slot flags.
const (
	memLogDirty = 1 << 0
	memReadOnly = 1 << 1
)

const (
	routingMSI       = 2
	cpuidSignificant = 1 // cpuidEntry.flags: the subleaf matters

	// A processor's device attribute that holds its TSC offset.
	attrGroupTSC  = 0
	attrTSCOffset = 0
)

// States of a processor, from KVM_GET_MP_STATE.
const (
	mpRunnable = 0
	mpHalted   = 3
)

// Model-specific registers that this package reads or writes.
const (
	msrTSC         = 0x10
	msrMiscEnable  = 0x1a0
	msrMTRR64K     = 0x250
	msrMTRR16K     = 0x258
	msrMTRR4K      = 0x268
	msrMTRRDef     = 0x2ff
	msrTSCDeadline = 0x6e0
	msrOldClock    = 0x11       // of KVM: msrWallClock as it was numbered first
	msrWallClock   = 0x4b564d00 // of KVM: where to put the date
	msrEFER        = 0xc0000080
	msrSTAR        = 0xc0000081
	msrLSTAR       = 0xc0000082
	msrFMASK       = 0xc0000084
)

type memoryRegion struct {
	slot, flags      uint32
	guest, size, mem uint64
}

type enableCap struct {
	cap, flags uint32
	args       [4]uint64
	_          [64]byte
}

type msi struct {
	addrLow, addrHigh, data, flags uint32
	device                         uint32
	_                              [12]byte
}

type routingEntry struct {
	gsi, kind, flags, _             uint32
	addrLow, addrHigh, data, device uint32
	_                               [16]byte
}

// routes is a routing table: as many as the I/O APIC of a machine has pins.
type routes struct {
	n, flags uint32
	entries  [pins]routingEntry
}

type cpuidEntry struct {
	leaf, subleaf, flags uint32
	eax, ebx, ecx, edx   uint32
	_                    [3]uint32
}

type cpuidEntries struct {
	n, _    uint32
	entries [maxCPUIDEntries]cpuidEntry
}

// maxCPUIDEntries is KVM's own limit since Linux 5.10; older kernels have 80
// and return fewer.
const maxCPUIDEntries = 256

type msrEntry struct {
	index, _ uint32
	value    uint64
}

type msrEntries struct {
	n, _    uint32
	entries [16]msrEntry
}

// maxMSRs is more than KVM lists of any processor.
const maxMSRs = 1024

type msrIndexList struct {
	n     uint32
	index [maxMSRs]uint32
}

type clockData struct {
	clock    uint64 // ns
	flags, _ uint32
	realtime uint64
	tsc      uint64
	_        [4]uint32
}

type registers struct {
	rax, rbx, rcx, rdx uint64
	rsi, rdi, rsp, rbp uint64
	r                  [8]uint64 // r8 to r15
	rip, rflags        uint64
}

type segment struct {
	base                         uint64
	limit                        uint32
	selector                     uint16
	kind, present, dpl, db, s, l uint8
	g, avl, unusable, _          uint8
}

type table struct {
	base  uint64
	limit uint16
	_     [3]uint16
}

type specialRegisters struct {
	cs, ds, es, fs, gs, ss, tr, ldt segment
	gdt, idt                        table
	cr0, cr2, cr3, cr4, cr8         uint64
	efer, apicBase                  uint64
	pending                         [4]uint64
}

// runArea is the start of what a processor's file maps: struct kvm_run.
type runArea struct {
	requests uint32 // byte 1 is immediate_exit
	_        uint32
	reason   uint32
	_        uint32
	_        [2]uint64
	exit     [256]byte // by reason
}

// immediateExit is immediate_exit within runArea.requests.
const immediateExit = 1 << 8
