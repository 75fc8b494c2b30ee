package acpi

// tableKind is what is known of the tables of a signature.
type tableKind struct {
	title    string
	body     func() visitor // nil if the body is not decoded
	aml      bool           // the body is byte code
	revision uint8          // the highest known, 0 if revisions are not checked
	bare     bool           // it has signature and length, but not the rest of the header
}

// tableKinds are the signatures of section 5.2.6, tables 5.5 and 5.6, that
// occur on PCs.
var tableKinds = map[string]tableKind{
	"APIC": {title: "Multiple APIC Description Table", body: func() visitor { return &madtBody{} }, revision: 7},
	"BERT": {title: "Boot Error Record Table"},
	"BGRT": {title: "Boot Graphics Resource Table"},
	"CEDT": {title: "CXL Early Discovery Table"},
	"DBG2": {title: "Debug Port Table 2"},
	"DMAR": {title: "DMA Remapping Table"},
	"DSDT": {title: "Differentiated System Description Table", aml: true, revision: 2},
	"EINJ": {title: "Error Injection Table"},
	"ERST": {title: "Error Record Serialization Table"},
	"FACP": {title: "Fixed ACPI Description Table", body: func() visitor { return &fadtBody{} }, revision: 6},
	"FACS": {title: "Firmware ACPI Control Structure", bare: true},
	"HEST": {title: "Hardware Error Source Table"},
	"HMAT": {title: "Heterogeneous Memory Attribute Table", body: func() visitor { return &hmatBody{} }, revision: 2},
	"HPET": {title: "High Precision Event Timer Table"},
	"MCFG": {title: "PCI Express Memory Mapped Configuration Table", body: func() visitor { return &mcfgBody{} }, revision: 1},
	"MSCT": {title: "Maximum System Characteristics Table"},
	"NFIT": {title: "NVDIMM Firmware Interface Table", body: func() visitor { return &nfitBody{} }, revision: 1},
	"OSDT": {title: "Override System Description Table", aml: true},
	"PCCT": {title: "Platform Communications Channel Table"},
	"PMTT": {title: "Platform Memory Topology Table"},
	"PPTT": {title: "Processor Properties Topology Table"},
	"PSDT": {title: "Persistent System Description Table", aml: true},
	"RSDT": {title: "Root System Description Table", body: func() visitor { return &rsdtBody{} }, revision: 1},
	"SLIT": {title: "System Locality Information Table", body: func() visitor { return &slitBody{} }, revision: 1},
	"SPCR": {title: "Serial Port Console Redirection Table"},
	"SRAT": {title: "System Resource Affinity Table", body: func() visitor { return &sratBody{} }, revision: 3},
	"SSDT": {title: "Secondary System Description Table", aml: true, revision: 2},
	"TPM2": {title: "Trusted Platform Module 2 Table"},
	"WAET": {title: "Windows ACPI Emulated Devices Table"},
	"XSDT": {title: "Extended System Description Table", body: func() visitor { return &xsdtBody{} }, revision: 1},
}
