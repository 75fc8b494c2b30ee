package soft

import (
	"context"
	"os"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/boot"
	"nvlab/vmm/soft/x86"
)

// bothEngines runs a benchmark interpreted and compiled.
func bothEngines(b *testing.B, f func(b *testing.B, e Engine)) {
	b.Run("interpreted", func(b *testing.B) { f(b, Engine{Interpreter: true}) })
	b.Run("compiled", func(b *testing.B) { f(b, Engine{}) })
}

// kept is an engine that keeps what it made.
type kept struct {
	Engine
	p *processors
}

func (k *kept) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := k.Engine.New(spec, bus)
	if err == nil {
		k.p = p.(*processors)
	}
	return p, err
}

// BenchmarkBoot boots the kernel that NVLAB_TEST_KERNEL names for 1.3 s of its
// time.
func BenchmarkBoot(b *testing.B) {
	path := os.Getenv("NVLAB_TEST_KERNEL")
	if path == "" {
		b.Skip("NVLAB_TEST_KERNEL names no kernel")
	}
	k, err := boot.Load(path)
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	rd, err := os.Open(os.Getenv("NVLAB_TEST_INITRD"))
	if err != nil {
		b.Fatal(err)
	}
	defer rd.Close()
	st, err := rd.Stat()
	if err != nil {
		b.Fatal(err)
	}
	bothEngines(b, func(b *testing.B, e Engine) {
		var insns uint64
		for range b.N {
			w := &kept{Engine: e}
			m, err := vmm.Assemble(vmm.Config{Memory: 256 << 20, Engine: w})
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Boot(vmm.Payload{Kernel: k, Initrd: rd, InitrdSize: st.Size()}); err != nil {
				b.Fatal(err)
			}
			if _, err := m.Run(context.Background(), 1300*time.Millisecond, nil); err != nil {
				b.Fatal(err)
			}
			insns += w.p.Stats().Instructions
			if n := w.p.cache.native; n != nil {
				b.ReportMetric(float64(n.Stats().Entries), "entries")
				b.ReportMetric(float64(n.Stats().Blocks), "blocks")
			}
			m.Close()
		}
		b.ReportMetric(float64(insns)/1e6/b.Elapsed().Seconds(), "MIPS")
	})
}

// loops are guest programs that run for ever, in supervisor mode.
var loops = []struct {
	name string
	code []byte
}{
	{"count", []byte{0x48, 0xff, 0xc0, 0x48, 0x39, 0xd8, 0x75, 0xf8, 0xeb, 0xf6}}, // inc rax; cmp rax, rbx; jne; jmp
	{"sum", []byte{ // over 4 KiB of memory
		0xbe, 0x00, 0x00, 0x29, 0x00, // mov esi, testData
		0xb9, 0x00, 0x02, 0x00, 0x00, // mov ecx, 512
		0x48, 0x03, 0x06, // add rax, [rsi]
		0x48, 0x83, 0xc6, 0x08, // add rsi, 8
		0x83, 0xe9, 0x01, // sub ecx, 1
		0x75, 0xf4, // jne
		0xeb, 0xe8, // jmp
	}},
	{"calls", []byte{
		0xe8, 0x02, 0x00, 0x00, 0x00, // call +2
		0xeb, 0xf9, // jmp
		0x55,             // push rbp
		0x48, 0x89, 0xe5, // mov rbp, rsp
		0x83, 0xc0, 0x03, // add eax, 3
		0x5d, // pop rbp
		0xc3, // ret
	}},
	{"hash", []byte{ // rotates, multiplies and stores
		0xbf, 0x00, 0x00, 0x29, 0x00, // mov edi, testData
		0x48, 0x69, 0xc0, 0x95, 0xe9, 0xd1, 0x59, // imul rax, rax, imm
		0x48, 0xc1, 0xc0, 0x1f, // rol rax, 31
		0x48, 0x31, 0xd8, // xor rax, rbx
		0x48, 0x89, 0x07, // mov [rdi], rax
		0x48, 0x8b, 0x57, 0x08, // mov rdx, [rdi+8]
		0x4d, 0x89, 0xe5, // mov r13, r12
		0x49, 0x01, 0xd4, // add r12, rdx
		0x48, 0x83, 0xc3, 0x01, // add rbx, 1
		0xeb, 0xdf, // jmp
	}},
}

func BenchmarkLoops(b *testing.B) {
	for _, l := range loops {
		b.Run(l.name, func(b *testing.B) {
			bothEngines(b, func(b *testing.B, e Engine) {
				m := newTestMachineWith(b, e)
				m.put(testCode, l.code...)
				m.c.r[x86.RBX] = 1 << 60
				for b.Loop() {
					if _, err := m.p.Run(context.Background(), m.p.Clock()+time.Millisecond); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(m.c.now)/1e6/b.Elapsed().Seconds(), "MIPS")
				m.p.Close()
			})
		})
	}
}
