package nvdimm

import (
	"encoding/binary"
	"io"
	"nvlab/nvdimm/backend"
	"time"
)

// The mailbox is a port and a page of guest memory. AML puts a request into
// the page and the page's address into the port; when the write returns, the
// reply is in the page (QEMU docs/specs/acpi_nvdimm.rst).
const (
	MailboxPort  uint16 = 0xa18
	MailboxPorts uint16 = 8

	// waitPort tells how long the reply is still to come, in ms.
	waitPort = MailboxPort + 4
)

// Request: handle at 0, revision at 4, function at 8, argument at 12. Reply:
// length at 0, counting itself, and result at 4.
const (
	requestArgument = 12
	replyResult     = 4
	maxArgument     = backend.PageSize - requestArgument
	maxResult       = backend.PageSize - replyResult

	// maxTransfer is the most label bytes a call moves: a write has its
	// offset and length before them.
	maxTransfer = maxArgument - 8
)

// GuestMemory is RAM by guest-physical address. An access that is not all RAM
// fails.
type GuestMemory interface {
	io.ReaderAt
	io.WriterAt
}

// Mailbox is the device at MailboxPort, for one power-on of a machine.
type Mailbox struct {
	root *Root
	mem  GuestMemory
	page uint64
}

// A LateReply is one that has not come yet.
type LateReply struct {
	Reply []byte        // nil: none
	At    time.Duration // when it comes, by the guest's clock
}

// Mailbox makes the device whose page is at a guest-physical address, the one
// that Tables was given.
func (r *Root) Mailbox(mem GuestMemory, page uint64) *Mailbox {
	return &Mailbox{root: r, mem: mem, page: page}
}

// In tells at waitPort whether the reply is in the page: 0, or the ms that it
// takes, at most a second. All else reads as zero.
func (m *Mailbox) In(port uint16, size int) uint32 {
	if port != waitPort || size != 4 || m.root.late.Reply == nil {
		return 0
	}
	if left := m.root.late.At - m.root.now(); left > 0 {
		return uint32(min((left+time.Millisecond-1)/time.Millisecond, 1000))
	}
	m.answer(m.root.late.Reply)
	m.root.late = LateReply{}
	return 0
}

// Out answers the request in the page. Accesses of another size than 4 bytes
// and any address but the page's do nothing: the guest chooses the value, and
// must not reach other memory through the device.
func (m *Mailbox) Out(port uint16, size int, value uint32) {
	if port != MailboxPort || size != 4 || uint64(value) != m.page {
		return
	}
	// The copy is what is checked and obeyed, so that another CPU cannot
	// change a request between the two.
	var page [backend.PageSize]byte
	if _, err := m.mem.ReadAt(page[:], int64(m.page)); err != nil {
		m.root.fail(err)
		return
	}
	result, delay := m.root.call(request{
		handle:   binary.LittleEndian.Uint32(page[0:]),
		revision: binary.LittleEndian.Uint32(page[4:]),
		function: binary.LittleEndian.Uint32(page[8:]),
		argument: page[requestArgument:],
	})
	if len(result) > maxResult {
		result = status(StatusFailed)
	}
	reply := binary.LittleEndian.AppendUint32(nil, uint32(replyResult+len(result)))
	reply = append(reply, result...)
	m.root.late = LateReply{}
	if delay > 0 {
		m.root.late = LateReply{reply, m.root.now() + delay}
		return
	}
	m.answer(reply)
}

func (m *Mailbox) answer(reply []byte) {
	if _, err := m.mem.WriteAt(reply, int64(m.page)); err != nil {
		m.root.fail(err)
	}
}
