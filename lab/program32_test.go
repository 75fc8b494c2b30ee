package lab

import (
	"encoding/binary"
	"testing"
)

// program32 is a 32-bit program that prints a line by INT 80h, one by the
// system call of the vDSO, and one by a pointer in thread-local memory.
func program32() []byte {
	const base, start = 0x8048000, 52 + 32
	code := []byte{
		0xb8, 4, 0, 0, 0, // mov eax, SYS_write
		0xbb, 1, 0, 0, 0, // mov ebx, 1
		0xb9, 0xd8, 0x80, 0x04, 0x08, // mov ecx, line 1
		0xba, 9, 0, 0, 0, // mov edx, 9
		0xcd, 0x80, // int 0x80
		0x89, 0xe6, // mov esi, esp
		0xad,                   // lodsd: the number of arguments
		0x8d, 0x74, 0x86, 0x04, // lea esi, [esi+eax*4+4]: the environment
		0xad, 0x85, 0xc0, 0x75, 0xfb, // lodsd; test eax, eax; jne: the auxiliary vector
		0xad, 0x89, 0xc7, 0xad, // lodsd; mov edi, eax; lodsd
		0x83, 0xff, 32, // cmp edi, AT_SYSINFO
		0x74, 0x06, // je
		0x85, 0xff, 0x75, 0xf3, // test edi, edi; jne
		0xeb, 0x18, // jmp: there is none
		0x89, 0xc7, // mov edi, eax
		0xb8, 4, 0, 0, 0,
		0xbb, 1, 0, 0, 0,
		0xb9, 0xe1, 0x80, 0x04, 0x08, // mov ecx, line 2
		0xba, 5, 0, 0, 0,
		0xff, 0xd7, // call edi
		0xb8, 243, 0, 0, 0, // mov eax, SYS_set_thread_area
		0xbb, 0xec, 0x80, 0x04, 0x08, // mov ebx, desc
		0xcd, 0x80,
		0xa1, 0xec, 0x80, 0x04, 0x08, // mov eax, [desc]
		0x8d, 0x04, 0xc5, 3, 0, 0, 0, // lea eax, [eax*8+3]
		0x8e, 0xe8, // mov gs, eax
		0x65, 0x8b, 0x0d, 0, 0, 0, 0, // mov ecx, gs:[0]
		0xb8, 4, 0, 0, 0,
		0xbb, 1, 0, 0, 0,
		0xba, 4, 0, 0, 0,
		0xcd, 0x80,
		0xb8, 1, 0, 0, 0, // mov eax, SYS_exit
		0x31, 0xdb, // xor ebx, ebx
		0xcd, 0x80,
	}
	code = append(code, "int 0x80\nvdso\ntls\n\x00\x00"...)
	le := binary.LittleEndian
	for _, v := range []uint32{^uint32(0), base + start + 0xa8, 0xfffff, 0x51, base + start + 0x92} { // a struct user_desc; line 3
		code = le.AppendUint32(code, v)
	}
	elf := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 9)...)
	for _, v := range []uint16{2, 3} { // executable, i386
		elf = le.AppendUint16(elf, v)
	}
	for _, v := range []uint32{1, base + start, 52, 0, 0} {
		elf = le.AppendUint32(elf, v)
	}
	for _, v := range []uint16{52, 32, 1, 40, 0, 0} {
		elf = le.AppendUint16(elf, v)
	}
	for _, v := range []uint32{1, start, base + start, base + start, uint32(len(code)), uint32(len(code)), 7, 4} {
		elf = le.AppendUint32(elf, v)
	}
	return append(elf, code...)
}

func TestProgram32(t *testing.T) {
	v, _ := labelledVM(t, vmExperiment(t))
	mustBoot(t, v)
	if err := v.WriteFile(t.Context(), "/tmp/program32", program32()); err != nil {
		t.Fatal(err)
	}
	if got, want := mustRun(t, v, "chmod +x /tmp/program32 && /tmp/program32"), "int 0x80\nvdso\ntls\n"; got != want {
		t.Errorf("a 32-bit program prints %q, want %q", got, want)
	}
}
