package nvdimm

import (
	"cmp"
	"fmt"
	"slices"

	"nvlab/acpi/aml"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
)

// RootPath is the root device in the ACPI namespace. NotifyFIT is the event
// that tells the guest to read _FIT again, NotifyErrors the one that tells it
// of errors (ACPI 6.5 section 5.6.6, table 5.173).
const (
	RootPath           = `\_SB.NVDR`
	NotifyFIT    uint8 = 0x80
	NotifyErrors uint8 = 0x81

	// HealthMethod notifies every DIMM whose health the guest is to look at.
	HealthMethod = `\_SB.NVDR.NHLT`

	notifyHealth = 0x81 // of a DIMM
)

// Status values of _LSI, _LSR and _LSW (ACPI 6.5 section 6.5.10).
const (
	labelOK      = 0
	labelFailure = 1
	labelInvalid = 2
	labelLocked  = 3
	labelBroken  = 4
)

// shortField is the size of the fields that most calls get along with: a
// field unit is transferred as a whole, by code that the guest interprets. It
// is larger than an integer, so that it always reads as a Buffer.
const shortField = 16

// SSDT describes the root device and a child for every slot, plugged or not,
// so that a DIMM may come later. The mailbox is a page of memory below 4 GiB.
func (r *Root) SSDT(mailbox uint64) ([]byte, error) {
	if mailbox%backend.PageSize != 0 || mailbox == 0 || mailbox > 0xffffffff {
		return nil, fmt.Errorf("NVDIMM mailbox at %#x: it is a page below 4 GiB", mailbox)
	}
	body := []aml.Term{
		aml.Name("_HID", aml.String("ACPI0012")),
		aml.OperationRegion("NPIO", aml.SystemIO, aml.Int(MailboxPort), aml.Int(MailboxPorts)),
		aml.Field("NPIO", aml.DWordAcc, aml.NoLock, aml.Preserve, aml.Unit("NTFI", 32), aml.Unit("NTWT", 32)),
		aml.OperationRegion("NRAM", aml.SystemMemory, aml.Int(mailbox), aml.Int(backend.PageSize)),
		pageField(aml.Unit("HDLE", 32), aml.Unit("REVS", 32), aml.Unit("FUNC", 32), aml.Unit("FARG", 8*maxArgument)),
		pageField(aml.Skip(8*requestArgument), aml.Unit("FARS", 8*shortField)),
		pageField(aml.Unit("RLEN", 32), aml.Unit("ODAT", 8*maxResult)),
		pageField(aml.Skip(8*replyResult), aml.Unit("ODAS", 8*shortField)),
		mailboxMethod(mailbox),
		dsmMethod(),
		familiesMethod("NDSR", firmware.Root, firmware.Activation),
		familiesMethod("NDSD", firmware.Families...),
		aml.Method("_DSM", 4, aml.NotSerialized, aml.Return(
			aml.Call("NDSR", aml.Int(RootHandle), aml.Arg0, aml.Arg1, aml.Arg2, aml.Arg3))),
		fitMethod(),
	}
	body = append(body, labelMethods()...)
	for slot := range r.config.Slots {
		var family *firmware.Family
		labels := true
		if i := slices.IndexFunc(r.dimms, func(d *DIMM) bool { return d.slot == slot }); i >= 0 {
			family, labels = cmp.Or(r.dimms[i].family, firmware.Intel), r.dimms[i].hasLabelMethods()
		}
		body = append(body, slotDevice(slot, r.handle(slot), family, labels))
	}
	body = append(body, healthMethod(r.config.Slots))
	code, err := aml.Encode(aml.Device(RootPath, body...))
	if err != nil {
		return nil, fmt.Errorf("SSDT of the NVDIMMs: %w", err)
	}
	return oem.Table("SSDT", 2, code), nil
}

func pageField(units ...aml.FieldUnit) aml.Term {
	return aml.Field("NRAM", aml.DWordAcc, aml.NoLock, aml.Preserve, units...)
}

// slotDevice is the child that Linux looks for by its _ADR, the NFIT handle.
// Its _DSM lets one family through to the device or, of an empty slot, which
// may get any DIMM, all: to look through them costs time, as Linux asks for
// many. Methods for labels that fail make a DIMM of a family fail (Linux
// dimm.c, nvdimm_probe); without labels it has none.
func slotDevice(slot int, handleOf uint32, family *firmware.Family, labels bool) aml.Term {
	handle := aml.Int(handleOf)
	dsm := aml.Call("NDSD", handle, aml.Arg0, aml.Arg1, aml.Arg2, aml.Arg3)
	if family != nil {
		dsm = dsmOf(handle, family, aml.Arg0, aml.Arg1, aml.Arg2, aml.Arg3)
	}
	body := []aml.Term{
		aml.Name("_ADR", handle),
		aml.Method("_DSM", 4, aml.NotSerialized, aml.Return(dsm)),
	}
	if !labels {
		return aml.Device(slotName(slot), body...)
	}
	return aml.Device(slotName(slot), append(body,
		aml.Method("_LSI", 0, aml.NotSerialized, aml.Return(aml.Call("NLSI", handle))),
		aml.Method("_LSR", 2, aml.NotSerialized, aml.Return(aml.Call("NLSR", handle, aml.Arg0, aml.Arg1))),
		aml.Method("_LSW", 3, aml.NotSerialized, aml.Return(aml.Call("NLSW", handle, aml.Arg0, aml.Arg1, aml.Arg2))),
	)...)
}

// mailboxMethod is NCAL (handle, revision, function, argument): one call of
// the device. Its value is a Buffer of at least 4 bytes, whatever the device
// does; it is never cut out of the page by CreateField, which would make an
// Integer of a short result.
func mailboxMethod(page uint64) aml.Term {
	length := aml.Local0
	return aml.Method("NCAL", 4, aml.Serialized,
		aml.If(aml.LGreater(aml.SizeOf(aml.Arg3), aml.Int(maxArgument)),
			aml.Return(aml.Buffer(status(statusInvalid)))),
		aml.Store(aml.Arg0, aml.Path("HDLE")),
		aml.Store(aml.Arg1, aml.Path("REVS")),
		aml.Store(aml.Arg2, aml.Path("FUNC")),
		// A write takes all of the field, so that nothing of an earlier call
		// is behind an argument that is shorter than it says.
		aml.If(aml.LOr(aml.LGreater(aml.SizeOf(aml.Arg3), aml.Int(shortField)), aml.LEqual(aml.Arg2, aml.Int(FuncSetLabel))),
			aml.Store(aml.Arg3, aml.Path("FARG")),
		).Else(
			aml.Store(aml.Arg3, aml.Path("FARS")),
		),
		aml.Store(aml.Int(page), aml.Path("NTFI")),
		aml.Store(aml.Path("NTWT"), length),
		aml.While(length, aml.Sleep(length), aml.Store(aml.Path("NTWT"), length)),
		aml.Store(aml.Path("RLEN"), length),
		aml.If(aml.LOr(aml.LLess(length, aml.Int(replyResult+4)), aml.LGreater(length, aml.Int(backend.PageSize))),
			aml.Return(aml.Buffer(status(statusNotSupported)))),
		aml.Subtract(length, aml.Int(replyResult), length),
		aml.If(aml.LGreater(length, aml.Int(shortField)),
			aml.Return(aml.Mid(aml.Path("ODAT"), aml.Zero, length, nil))),
		aml.Return(aml.Mid(aml.Path("ODAS"), aml.Zero, length, nil)),
	)
}

// dsmOf calls NDSM for a family.
func dsmOf(handle aml.Term, f *firmware.Family, uuid, revision, function, argument aml.Term) aml.Term {
	return aml.Call("NDSM", handle, aml.ToUUID(f.UUID), aml.Int(f.Number)<<16, uuid, revision, function, argument)
}

// familiesMethod is a method (handle, then the arguments of _DSM) that calls
// NDSM for the family whose UUID is given.
func familiesMethod(name string, families ...*firmware.Family) aml.Term {
	var body []aml.Term
	last := len(families) - 1
	call := func(f *firmware.Family) aml.Term {
		return aml.Return(dsmOf(aml.Arg0, f, aml.Arg1, aml.Arg2, aml.Arg3, aml.Arg4))
	}
	for _, f := range families[:last] {
		body = append(body, aml.If(aml.LEqual(aml.Arg1, aml.ToUUID(f.UUID)), call(f)))
	}
	return aml.Method(name, 5, aml.NotSerialized, append(body, call(families[last]))...)
}

// dsmMethod is NDSM (handle, UUID, family, then the arguments of _DSM): it
// refuses any other UUID, with no function at all, adds the family to the
// function, and takes the argument out of its package.
func dsmMethod() aml.Term {
	return aml.Method("NDSM", 7, aml.NotSerialized,
		aml.If(aml.LNotEqual(aml.Arg3, aml.Arg1),
			aml.If(aml.LEqual(aml.Arg5, aml.Zero), aml.Return(aml.Buffer{0})),
			aml.Return(aml.Buffer{statusNotSupported})),
		aml.Store(aml.BufferOf(aml.Int(shortField)), aml.Local0),
		aml.If(aml.LEqual(aml.ObjectType(aml.Arg6), aml.Int(aml.PkgObj)),
			aml.If(aml.LEqual(aml.SizeOf(aml.Arg6), aml.One),
				aml.Store(aml.At(aml.Arg6, aml.Zero), aml.Local1),
				aml.If(aml.LEqual(aml.ObjectType(aml.Local1), aml.Int(aml.BuffObj)),
					aml.Store(aml.Local1, aml.Local0)))),
		aml.Return(aml.Call("NCAL", aml.Arg0, aml.Arg4, aml.Or(aml.Arg2, aml.Arg5, nil), aml.Local0)),
	)
}

func slotName(slot int) string { return fmt.Sprintf("NV%02X", slot) }

// healthMethod is NHLT: it asks the device which DIMMs' health changed, one at
// a time, and notifies each (ACPI 6.5 section 5.6.6, table 5.173: NFIT health
// event notification).
func healthMethod(slots int) aml.Term {
	reply, slot := aml.Local0, aml.Local1
	body := []aml.Term{
		aml.Store(aml.Call("NCAL", aml.Int(eventHandle), aml.One, aml.Int(funcEvent), aml.BufferOf(aml.Int(shortField))), reply),
		aml.If(aml.LNotEqual(word(reply, 0), aml.Int(statusOK)), aml.Return(aml.Zero)),
		aml.Store(word(reply, 4), slot),
	}
	for i := range slots {
		body = append(body, aml.If(aml.LEqual(slot, aml.Int(i)), aml.Notify(aml.Path(slotName(i)), aml.Int(notifyHealth))))
	}
	return aml.Method("NHLT", 0, aml.Serialized, aml.While(aml.One, body...), aml.Return(aml.Zero))
}

// fitMethod collects the FIT piece by piece, and from the start again when
// the device says that it changed.
func fitMethod() aml.Term {
	fit, reply, code, size := aml.Local0, aml.Local1, aml.Local2, aml.Local3
	return aml.Method("_FIT", 0, aml.Serialized,
		aml.Store(aml.Buffer{}, fit),
		aml.While(aml.One,
			aml.Store(aml.Call("NCAL", aml.Int(FITHandle), aml.One, aml.Int(FuncReadFIT), aml.ToBuffer(aml.SizeOf(fit), nil)), reply),
			aml.Store(word(reply, 0), code),
			aml.Subtract(aml.SizeOf(reply), aml.Int(4), size),
			aml.If(aml.LEqual(code, aml.Int(statusFITChanged)),
				aml.Store(aml.Buffer{}, fit),
			).ElseIf(aml.LNotEqual(code, aml.Zero),
				aml.Return(aml.Buffer{}),
			).ElseIf(aml.LEqual(size, aml.Zero),
				aml.Return(fit),
			).Else(
				aml.Concatenate(fit, aml.Mid(reply, aml.Int(4), size, nil), fit),
			),
		),
		aml.Return(fit),
	)
}

// labelMethods are the three ways to the labels that need no _DSM, over the
// same functions of the device (ACPI 6.5 section 6.5.10).
func labelMethods() []aml.Term {
	reply, result, code := aml.Local0, aml.Local1, aml.Local2
	call := func(function int, argument aml.Term) aml.Term {
		return aml.Store(aml.Call("NCAL", aml.Arg0, aml.One, aml.Int(familyLabels<<16|function), argument), reply)
	}
	element := func(i int) aml.Term { return aml.Index(result, aml.Int(i), nil) }
	return []aml.Term{
		// NLST (reply): the status of a reply as these methods number it.
		aml.Method("NLST", 1, aml.NotSerialized,
			aml.Store(word(aml.Arg0, 0), code),
			aml.If(aml.LEqual(code, aml.Int(statusOK)), aml.Return(aml.Int(labelOK))),
			aml.If(aml.LEqual(code, aml.Int(statusInvalid)), aml.Return(aml.Int(labelInvalid))),
			aml.If(aml.LEqual(code, aml.Int(StatusFailed)), aml.Return(aml.Int(labelBroken))),
			aml.If(aml.And(code, aml.Int(1<<16), nil), aml.Return(aml.Int(labelLocked))),
			aml.Return(aml.Int(labelFailure))),

		// NLSI (handle): status, size of the area, most bytes of a transfer.
		aml.Method("NLSI", 1, aml.NotSerialized,
			call(FuncLabelSize, aml.BufferOf(aml.Int(shortField))),
			aml.Store(aml.Package{aml.Int(labelFailure), aml.Zero, aml.Zero}, result),
			aml.Store(aml.Call("NLST", reply), code),
			aml.Store(code, element(0)),
			aml.If(aml.LEqual(code, aml.Int(labelOK)),
				aml.Store(word(reply, 4), element(1)),
				aml.Store(word(reply, 8), element(2))),
			aml.Return(result)),

		// NLSR (handle, offset, length): status, data.
		aml.Method("NLSR", 3, aml.NotSerialized,
			call(FuncGetLabel, aml.Concatenate(dword(aml.Arg1), dword(aml.Arg2), nil)),
			aml.Store(aml.Package{aml.Int(labelFailure), aml.Buffer{}}, result),
			aml.Store(aml.Call("NLST", reply), element(0)),
			aml.Store(aml.Mid(reply, aml.Int(4), aml.Int(backend.PageSize), nil), element(1)),
			aml.Return(result)),

		// NLSW (handle, offset, length, data): status.
		aml.Method("NLSW", 4, aml.NotSerialized,
			aml.If(aml.LLess(aml.SizeOf(aml.Arg3), aml.Arg2), aml.Return(aml.Int(labelInvalid))),
			aml.Concatenate(dword(aml.Arg1), dword(aml.Arg2), aml.Local3),
			call(FuncSetLabel, aml.Concatenate(aml.Local3, aml.Mid(aml.Arg3, aml.Zero, aml.Arg2, nil), nil)),
			aml.Return(aml.Call("NLST", reply))),
	}
}

// word is the 32-bit integer at an offset of a buffer.
func word(buffer aml.Term, at int) aml.Term {
	return aml.ToInteger(aml.Mid(buffer, aml.Int(at), aml.Int(4), nil), nil)
}

// dword is an integer as a buffer of 4 bytes, in tables of either width.
func dword(v aml.Term) aml.Term {
	return aml.Mid(aml.ToBuffer(v, nil), aml.Zero, aml.Int(4), nil)
}
