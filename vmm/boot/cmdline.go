package boot

import (
	"fmt"
	"strings"
)

// DefaultCmdline is the kernel command line of a machine whose time-stamp
// counter runs at tscKHz. Each word is there for a reason:
//
//	console=ttyS0           the one console there is
//	tsc=reliable            no clocksource watchdog: there is nothing to check it against
//	tsc_early_khz=N         no PIT, HPET or PM timer to calibrate against
//	random.trust_cpu=on     the pool is ready at once, seeded by RDRAND
//	cryptomgr.notests       the self-tests of ciphers are half of a boot
//	init_on_alloc=0         no clearing of every allocation
//	mitigations=off         the CPU speculates nothing
//	reboot=acpi             by the reset register: Linux takes hardware-reduced
//	                        ACPI for EFI otherwise, and falls back to real mode
//	panic=-1                a panic tells all on the console and resets at once,
//	                        rather than spin
func DefaultCmdline(tscKHz uint64) string {
	return strings.Join([]string{
		"console=ttyS0",
		"tsc=reliable",
		fmt.Sprintf("tsc_early_khz=%d", tscKHz),
		"random.trust_cpu=on",
		"cryptomgr.notests",
		"init_on_alloc=0",
		"mitigations=off",
		"reboot=acpi",
		"panic=-1",
	}, " ")
}
