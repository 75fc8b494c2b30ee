# A guest that tries one thing, which the first letter of its kernel command
# line names, and tells the outcome on the serial port.
#
#	as -o guest.o guest.s && ld -s -n --no-warn-rwx-segments -Ttext=0x1000000 -o guest.elf guest.o

	.intel_syntax noprefix
	.equ	COM1, 0x3f8
	.equ	SLEEP, 0x600
	.equ	RESET, 0x602
	.equ	EVENTS, 0x604
	.equ	IDT, 0x60000
	.equ	IOAPIC, 0xfec00000
	.equ	LAPIC, 0xfee00000
	.equ	ABSENT, 0xd8000000
	.equ	DEVICE, 0xd9000000
	.equ	MEMORY, 0xda000000

	.globl	_start
_start:	mov	eax, [rsi + 0x228]	# cmd_line_ptr
	mov	al, [rax]
	cmp	al, 'p'
	je	power
	cmp	al, 'r'
	je	reset
	cmp	al, 'h'
	je	halt
	cmp	al, 't'
	je	triple
	cmp	al, 'l'
	je	loop
	cmp	al, 'u'
	je	unclaimed
	cmp	al, 'd'
	je	device
	cmp	al, 'm'
	je	memory
	cmp	al, 'e'
	je	echo
	cmp	al, 'i'
	je	edge
	cmp	al, 'g'
	je	level
	cmp	al, 's'
	je	sleep
	cmp	al, 'a'
	je	again
	cmp	al, 'x'
	je	except
	cmp	al, 'b'
	je	break
	jmp	power

# p: say so and power off.
power:	lea	rbx, [rip + 1f]
	call	print
off:	mov	dx, SLEEP
	mov	al, 5 << 2 | 1 << 5
	out	dx, al
loop:	jmp	loop			# l: never end
1:	.asciz	"power\n"

reset:	mov	dx, RESET
	mov	al, 1
	out	dx, al
	jmp	loop

halt:	cli
	hlt
	jmp	halt

triple:	lidt	[rip + 1f]
	ud2
1:	.word	0
	.quad	0

# u: ports and addresses where nothing is.
unclaimed:
	mov	dx, 0x1234
	xor	eax, eax
	in	al, dx
	call	hex
	mov	dx, 0x1234
	xor	eax, eax
	in	ax, dx
	call	hex
	mov	dx, 0x1234
	in	eax, dx
	call	hex
	mov	dx, 0x1234
	xor	eax, eax
	out	dx, eax
	mov	esi, ABSENT
	mov	[rsi], rax
	mov	al, [rsi + 1]
	call	hex
	xor	eax, eax
	mov	ax, [rsi + 2]
	call	hex
	mov	eax, [rsi + 4]
	call	hex
	mov	rax, [rsi + 8]
	call	hex
	jmp	off

# d: a device of the test, at ports from 0x5000 and at DEVICE.
device:	mov	dx, 0x5001
	mov	eax, 0x11223344
	out	dx, al
	out	dx, ax
	out	dx, eax
	in	eax, dx
	call	hex
	mov	esi, DEVICE
	mov	rax, 0x1122334455667788
	mov	[rsi + 0x10], al
	mov	[rsi + 0x20], ax
	mov	[rsi + 0x30], eax
	mov	[rsi + 0x40], rax
	xor	eax, eax
	mov	ax, [rsi + 0x52]
	call	hex
	jmp	off

# m: memory of the test at MEMORY: read, add one, write, read.
memory:	mov	esi, MEMORY
	mov	rax, [rsi]
	call	hex
	inc	rax
	mov	[rsi], rax
	mov	rax, [rsi]
	call	hex
	jmp	off

# e: send back what is typed, up to and with a newline.
echo:	mov	dx, COM1 + 5
	in	al, dx
	test	al, 1
	jz	echo
	mov	dx, COM1
	in	al, dx
	out	dx, al
	cmp	al, '\n'
	jne	echo
	jmp	off

# i: the transmit interrupt of the serial port, edge-triggered.
edge:	lea	rbx, [rip + on_edge]
	call	gate
	mov	eax, 0x40
	mov	ecx, 0x10 + 2 * 4
	call	route
	mov	dx, COM1 + 1
	mov	al, 2
	out	dx, al
1:	sti
	hlt
	cli
	cmp	ebp, 3
	jb	1b
	jmp	off
on_edge:
	mov	dx, COM1 + 2		# its identity ends it
	in	al, dx
	call	eoi
	inc	ebp
	cmp	ebp, 3
	jae	1f
	mov	dx, COM1
	mov	al, 'i'			# and sending raises it again
	out	dx, al
1:	iretq

# g: events, level-triggered, until one says stop (bit 2).
level:	lea	rbx, [rip + on_level]
	call	gate
	mov	eax, 0x8040
	mov	ecx, 0x10 + 2 * 9
	call	route
	lea	rbx, [rip + 2f]
	call	print
1:	sti
	hlt
	cli
	test	ebp, 4
	jz	1b
	jmp	off
2:	.asciz	"ready\n"
on_level:
	mov	dx, EVENTS
	in	eax, dx
	or	ebp, eax
	call	hex
	call	eoi
	iretq

# s: wait for a deadline of the local APIC's timer, 20 ms of TSC.
sleep:	lea	rbx, [rip + on_timer]
	call	gate
	mov	esi, LAPIC
	mov	dword ptr [rsi + 0x320], 0x40040	# LVT timer: TSC deadline
	rdtsc
	shl	rdx, 32
	or	rax, rdx
	add	rax, 20000000
	mov	rdx, rax
	shr	rdx, 32
	mov	ecx, 0x6e0
	wrmsr
	sti
	hlt
	jmp	off
on_timer:
	lea	rbx, [rip + 1f]
	call	print
	call	eoi
	iretq
1:	.asciz	"timer\n"

# a: a level-triggered interrupt that is still asserted at its end comes again.
again:	lea	rbx, [rip + on_again]
	call	gate
	mov	eax, 0x8040
	mov	ecx, 0x10 + 2 * 4
	call	route
	mov	dx, COM1 + 1
	mov	al, 2
	out	dx, al
	sti
1:	cmp	ebp, 3
	jb	1b
	cli
	jmp	off
on_again:
	mov	dx, COM1
	mov	al, 'a'
	out	dx, al
	inc	ebp
	cmp	ebp, 3
	jb	1f
	mov	dx, COM1 + 2		# the third time, end it
	in	al, dx
1:	call	eoi
	iretq

# x: faults, each told by its vector and what comes with it.
except:	lea	rbx, [rip + on_divide]
	mov	edi, IDT + 16 * 0
	call	vector
	lea	rbx, [rip + on_opcode]
	mov	edi, IDT + 16 * 6
	call	vector
	lea	rbx, [rip + on_protection]
	mov	edi, IDT + 16 * 13
	call	vector
	lea	rbx, [rip + on_page]
	mov	edi, IDT + 16 * 14
	call	vector
	lea	r12, [rip + 1f]
	mov	eax, 1
	xor	edx, edx
	xor	ecx, ecx
	div	ecx
1:	lea	r12, [rip + 1f]
	ud2
1:	lea	r12, [rip + 1f]
	mov	rax, 0x8000000000000000
	mov	rax, [rax]
1:	lea	r12, [rip + 1f]
	mov	rax, 0x123456000
	mov	[rax], al
1:	jmp	off

on_divide:
	mov	eax, 0
	jmp	resume
on_opcode:
	mov	eax, 6
resume:	call	hex
	mov	[rsp], r12
	iretq
on_protection:
	mov	eax, 13
	jmp	coded
on_page:
	mov	rax, cr2
	call	hex
	mov	eax, 14
coded:	call	hex
	pop	rax
	call	hex
	mov	[rsp], r12
	iretq

# b: a breakpoint.
break:	lea	rbx, [rip + on_break]
	mov	edi, IDT + 16 * 3
	call	vector
	int3
	jmp	off
on_break:
	mov	eax, 3
	call	hex
	iretq

# gate makes vector 0x40 an interrupt gate to rbx and switches the local APIC on.
gate:	mov	edi, IDT + 16 * 0x40
	call	vector
	mov	esi, LAPIC
	mov	dword ptr [rsi + 0xf0], 0x1ff
	xor	ebp, ebp
	ret

# vector makes the entry at rdi an interrupt gate to rbx.
vector:	mov	[rdi], bx
	mov	word ptr [rdi + 2], 0x10
	mov	word ptr [rdi + 4], 0x8e00
	shr	rbx, 16
	mov	[rdi + 6], bx
	shr	rbx, 16
	mov	[rdi + 8], rbx
	lidt	[rip + 1f]
	ret
1:	.word	16 * 0x41 - 1
	.quad	IDT

# route writes eax to the low half of the I/O APIC's entry at index ecx, and
# the local APIC's ID, 0, to the other.
route:	mov	esi, IOAPIC
	lea	edx, [ecx + 1]
	mov	[rsi], edx
	mov	dword ptr [rsi + 0x10], 0
	mov	[rsi], ecx
	mov	[rsi + 0x10], eax
	ret

eoi:	mov	esi, LAPIC
	mov	dword ptr [rsi + 0xb0], 0
	ret

# print sends the text at rbx.
print:	mov	dx, COM1
1:	mov	al, [rbx]
	test	al, al
	jz	2f
	out	dx, al
	inc	rbx
	jmp	1b
2:	ret

# hex sends rax in hexadecimal and a newline, and keeps it.
hex:	mov	r8, rax
	mov	r9, rax
	mov	dx, COM1
	mov	ecx, 16
1:	rol	r9, 4
	mov	eax, r9d
	and	eax, 15
	cmp	eax, 9
	jbe	2f
	add	eax, 'a' - '0' - 10
2:	add	eax, '0'
	out	dx, al
	dec	ecx
	jnz	1b
	mov	al, '\n'
	out	dx, al
	mov	rax, r8
	ret
