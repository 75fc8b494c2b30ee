package kvm

import (
	"fmt"

	"nvlab/vmm"
)

// Message-signalled interrupts (Intel SDM 3A, 11.11.1 and 11.11.2).
const (
	msiBase      = 0xfee0_0000
	msiLogical   = 1 << 2
	msiHint      = 1 << 3
	msiDestShift = 12

	msiLowest = 1 << 8
	msiAssert = 1 << 14
	msiLevel  = 1 << 15
)

// message is how KVM takes an interrupt.
func message(i vmm.Interrupt) msi {
	m := msi{addrLow: msiBase | uint32(i.Dest)<<msiDestShift, data: uint32(i.Vector)}
	if i.Logical {
		m.addrLow |= msiLogical
	}
	if i.Lowest {
		m.addrLow |= msiHint
		m.data |= msiLowest
	}
	if i.Level {
		m.data |= msiLevel | msiAssert
	}
	return m
}

// route has KVM report the ends of a level-triggered message: it reports
// those that its routing table holds. A full table loses its oldest entry, for
// an I/O APIC that has more messages than pins has changed one.
func (m *virtualMachine) route(i msi) error {
	used := m.routes.entries[:m.routes.n]
	for _, e := range used {
		if e.addrLow == i.addrLow && e.data == i.data {
			return nil
		}
	}
	if len(used) == pins {
		copy(used, used[1:])
		m.routes.n--
	}
	m.routes.entries[m.routes.n] = routingEntry{kind: routingMSI, addrLow: i.addrLow, data: i.data}
	m.routes.n++
	return m.tellRoutes()
}

// tellRoutes gives KVM the routing table.
func (m *virtualMachine) tellRoutes() error {
	for n := range m.routes.entries[:m.routes.n] {
		m.routes.entries[n].gsi = uint32(n)
	}
	if err := pass(m.file, reqSetRouting, &m.routes); err != nil {
		return fmt.Errorf("KVM_SET_GSI_ROUTING: %w", err)
	}
	return nil
}

// messages are those of the routing table, the oldest first.
func (m *virtualMachine) messages() []savedRoute {
	var list []savedRoute
	for _, e := range m.routes.entries[:m.routes.n] {
		list = append(list, savedRoute{e.addrLow, e.data})
	}
	return list
}

// setMessages makes the routing table one of these messages.
func (m *virtualMachine) setMessages(list []savedRoute) error {
	if len(list) > pins {
		return fmt.Errorf("%d routes of interrupts: want %d at most", len(list), pins)
	}
	m.routes = routes{n: uint32(len(list))}
	for n, r := range list {
		m.routes.entries[n] = routingEntry{kind: routingMSI, addrLow: r.Addr, data: r.Data}
	}
	return m.tellRoutes()
}

// signal delivers a message. That no local APIC takes it is no error.
func (m *virtualMachine) signal(i vmm.Interrupt) error {
	msg := message(i)
	if i.Level {
		if err := m.route(msg); err != nil {
			return err
		}
	}
	pass(m.file, reqSignalMSI, &msg)
	return nil
}
