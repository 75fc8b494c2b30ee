package soft

import (
	"context"
	"testing"
	"time"

	"nvlab/vmm/soft/x86"
)

// Loops, each ending in a jump to its start. rsi and rdi point at data.
var benchLoops = []struct {
	name string
	code []byte
}{
	{"arithmetic", []byte{
		0x48, 0x01, 0xc8, // add rax, rcx
		0x48, 0x31, 0xd0, // xor rax, rdx
		0x48, 0xc1, 0xc0, 0x05, // rol rax, 5
		0x48, 0x8d, 0x0c, 0x48, // lea rcx, [rax+rcx*2]
		0x48, 0x89, 0xc3, // mov rbx, rax
		0x48, 0x83, 0xc2, 0x01, // add rdx, 1
		0x4c, 0x39, 0xc2, // cmp rdx, r8
		0x75, 0xe7, // jne
	}},
	{"memory", []byte{
		0x0f, 0xb6, 0x04, 0x0e, // movzx eax, byte [rsi+rcx]
		0x88, 0x04, 0x0f, // mov [rdi+rcx], al
		0x48, 0x8b, 0x5e, 0x10, // mov rbx, [rsi+16]
		0x48, 0x01, 0x5f, 0x18, // add [rdi+24], rbx
		0x48, 0x83, 0xc1, 0x01, // add rcx, 1
		0x81, 0xe1, 0xff, 0x07, 0x00, 0x00, // and ecx, 0x7ff
		0x84, 0xc0, // test al, al
		0x74, 0xe3, // je
	}},
	{"calls", []byte{
		0xe8, 0x08, 0, 0, 0, // call +8
		0x48, 0xff, 0xc0, // inc rax
		0xeb, 0xf6, // jmp start
		0x90, 0x90, 0x90,
		0x53,             // push rbx
		0x55,             // push rbp
		0x48, 0x89, 0xe5, // mov rbp, rsp
		0x48, 0x85, 0xc0, // test rax, rax
		0x78, 0x00, // js +0
		0x5d, // pop rbp
		0x5b, // pop rbx
		0xc3, // ret
	}},
	{"vectors", []byte{
		0xf3, 0x0f, 0x6f, 0x06, // movdqu xmm0, [rsi]
		0x66, 0x0f, 0x74, 0xc1, // pcmpeqb xmm0, xmm1
		0x66, 0x0f, 0xd7, 0xc0, // pmovmskb eax, xmm0
		0x66, 0x0f, 0xef, 0xc0, // pxor xmm0, xmm0
		0x83, 0xf8, 0xff, // cmp eax, -1
		0xeb, 0xeb, // jmp
	}},
}

// BenchmarkLoop reports millions of guest instructions a second.
func BenchmarkLoop(b *testing.B) {
	for _, l := range benchLoops {
		b.Run(l.name, func(b *testing.B) {
			m := newTestMachine(b)
			m.put(testCode, l.code...)
			m.c.r[x86.RSI], m.c.r[x86.RDI] = testData, testData+x86.PageSize
			reportMIPS(b, m.p)
		})
	}
}

// reportMIPS runs processors for a millisecond of guest time a round.
func reportMIPS(b *testing.B, p *processors) {
	at := time.Duration(0)
	const step = 1_000_000
	b.ResetTimer()
	for range b.N {
		at += step
		if _, err := p.Run(context.Background(), at); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(p.Stats().Instructions)/b.Elapsed().Seconds()/1e6, "MIPS")
}
