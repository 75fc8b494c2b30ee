package guid

import "testing"

func TestParse(t *testing.T) {
	const text = "66f0d379-b4f3-4074-ac43-0d3318b78cdb"
	want := GUID{0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb}
	for _, s := range []string{text, "66F0D379-B4F3-4074-AC43-0D3318B78CDB"} {
		got, err := Parse(s)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = % x, %v, want % x", s, got[:], err, want[:])
		}
		if got.String() != text {
			t.Errorf("Parse(%q).String() = %q, want %q", s, got, text)
		}
	}
	for _, s := range []string{"", text[:35], text + "0", "66f0d379-b4f3-4074-ac43_0d3318b78cdb", "66f0d379-b4f3-4074-ac43-0d3318b78cdg", "66f0d3-79b4f3-4074-ac43-0d3318b78cdb"} {
		if got, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("66f0d379-b4f3-4074-ac43-0d3318b78cdb")
	f.Add("------------------------------------")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(g.String()); err != nil || again != g {
			t.Errorf("Parse(%q) = %v, and that parses to %v, %v", s, g, again, err)
		}
	})
}

func TestMustParse(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Errorf("MustParse of no GUID does not panic")
		}
	}()
	MustParse("none")
}
