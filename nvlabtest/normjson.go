package nvlabtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

func normjson(ts *testscript.TestScript, args []string) {
	file := "stdout"
	switch len(args) {
	case 0:
	case 1:
		file = args[0]
	default:
		ts.Fatalf("usage: normjson [FILE]")
	}
	text, err := normalize([]byte(ts.ReadFile(file)))
	if err != nil {
		ts.Fatalf("normjson: %v", err)
	}
	fmt.Fprint(ts.Stdout(), text)
}

// normalize writes JSON values, such as the lines of a stream, one an
// indented block with sorted keys, without what differs from run to run.
func normalize(data []byte) (string, error) {
	var b strings.Builder
	uuids := make(map[string]string)
	for in := json.NewDecoder(bytes.NewReader(data)); ; {
		var v any
		err := in.Decode(&v)
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		out, err := json.MarshalIndent(settle(v, uuids), "", "  ")
		if err != nil {
			return "", err
		}
		b.Write(append(out, '\n'))
	}
}

var (
	uuidText = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	tookText = regexp.MustCompile(`\b\d+\.\d+s\b`)
)

// settle drops times and numbers UUIDs in the order in which they come.
func settle(v any, uuids map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "Time")
		delete(v, "Elapsed")
		for _, key := range slices.Sorted(maps.Keys(v)) {
			v[key] = settle(v[key], uuids)
		}
	case []any:
		for i, e := range v {
			v[i] = settle(e, uuids)
		}
	case string:
		s := uuidText.ReplaceAllStringFunc(v, func(u string) string {
			if uuids[u] == "" {
				uuids[u] = fmt.Sprintf("uuid%d", len(uuids)+1)
			}
			return uuids[u]
		})
		return tookText.ReplaceAllString(s, "0.0s")
	}
	return v
}
