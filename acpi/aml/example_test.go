package aml_test

import (
	"fmt"

	"nvlab/acpi/aml"
)

// A device with registers, and a method that rings it.
func Example() {
	code, err := aml.Encode(
		aml.Scope(`\_SB`,
			aml.Device("BELL",
				aml.Name("_HID", aml.String("ACPI0012")),
				aml.Name("_CRS", aml.ResourceTemplate(
					aml.IO{Decode16: true, Min: 0xA18, Max: 0xA18, Length: 4},
					aml.Interrupt{Consumer: true, Edge: true, Numbers: []uint32{9}},
				)),
				aml.OperationRegion("PORT", aml.SystemIO, aml.Int(0xA18), aml.Int(4)),
				aml.Field("PORT", aml.DWordAcc, aml.NoLock, aml.Preserve,
					aml.Skip(8), aml.Unit("RING", 24)),
				aml.Method("CALL", 2, aml.Serialized,
					aml.If(aml.LEqual(aml.Arg0, aml.ToUUID("2f10e7a4-9e91-11e4-89d3-123b93f75cba")),
						aml.Store(aml.Arg1, aml.Path("RING")),
					).ElseIf(aml.LGreater(aml.Arg1, aml.Int(7)),
						aml.Return(aml.Buffer{1}),
					).Else(
						aml.Add(aml.Arg1, aml.One, aml.Local0)),
					aml.Return(aml.Buffer{0})),
				aml.Method("_STA", 0, aml.NotSerialized,
					aml.Call("CALL", aml.Zero, aml.Int(2)),
					aml.Return(aml.Int(0xF))))))
	fmt.Println(err)
	text, err := aml.Disassemble(code)
	fmt.Print(text)
	fmt.Println(err)
	// Output:
	// <nil>
	// Scope (\_SB)
	// {
	//     Device (BELL)
	//     {
	//         Name (_HID, "ACPI0012")
	//         Name (_CRS, ResourceTemplate ()
	//         {
	//             IO (Decode16, 0x0A18, 0x0A18, 0x00, 0x04)
	//             Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 0x00000009 }
	//         })
	//         OperationRegion (PORT, SystemIO, 0x0A18, 0x04)
	//         Field (PORT, DWordAcc, NoLock, Preserve)
	//         {
	//             Offset (0x01),
	//             RING, 24
	//         }
	//         Method (CALL, 2, Serialized)
	//         {
	//             If (LEqual (Arg0, ToUUID ("2f10e7a4-9e91-11e4-89d3-123b93f75cba")))
	//             {
	//                 Store (Arg1, RING)
	//             }
	//             ElseIf (LGreater (Arg1, 0x07))
	//             {
	//                 Return (Buffer (One) { 0x01 })
	//             }
	//             Else
	//             {
	//                 Add (Arg1, One, Local0)
	//             }
	//             Return (Buffer (One) { 0x00 })
	//         }
	//         Method (_STA, 0, NotSerialized)
	//         {
	//             CALL (Zero, 0x02)
	//             Return (0x0F)
	//         }
	//     }
	// }
	// <nil>
}
