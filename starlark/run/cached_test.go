package run

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzCachedTest(f *testing.F) {
	f.Add([]byte(`{"Version":1,"Inputs":{},"Told":[{"Test":"test_a","Start":true},{"Test":"test_a","Text":"x\n"},{"Test":"test_a","Outcome":{"Status":0}}]}`))
	f.Add([]byte(`{"Version":1,"Inputs":{},"Told":[{"Test":"test_a","Outcome":{"Status":1}}]}`))
	f.Add([]byte(strings.Repeat(`{"Inputs":`, 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeRecord(again); err != nil {
			t.Fatalf("what was encoded of a record that was decoded: %v", err)
		}
		for _, c := range rec.Told {
			if c.Outcome != nil && c.Outcome.Status != 0 && c.Outcome.Status != 2 {
				t.Fatalf("a record of a test with the status %d", c.Outcome.Status)
			}
		}
	})
}
