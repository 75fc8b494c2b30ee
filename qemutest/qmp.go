package qemutest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// qmp is a client of QEMU's machine protocol (QEMU,
// docs/interop/qmp-spec.txt).
type qmp struct {
	file *os.File
	in   *bufio.Reader
}

func newQMP(file *os.File) (*qmp, error) {
	q := &qmp{file: file, in: bufio.NewReader(file)}
	if _, err := q.in.ReadBytes('\n'); err != nil {
		return nil, fmt.Errorf("QMP: no greeting: %w", err)
	}
	return q, q.command("qmp_capabilities", nil, nil)
}

// command runs one command to its answer, which goes to result unless that is
// nil. Events in between are dropped.
func (q *qmp) command(name string, arguments []property, result any) error {
	request := map[string]any{"execute": name}
	if arguments != nil {
		object := map[string]any{}
		for _, p := range arguments {
			object[p.name] = p.value
		}
		request["arguments"] = object
	}
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	q.file.SetDeadline(time.Now().Add(commandTime))
	if _, err := q.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	for {
		line, err := q.in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("QMP %s: %w", name, err)
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil:
			return fmt.Errorf("QMP %s: %w", name, err)
		case answer.Error != nil:
			return fmt.Errorf("QMP %s: %s", name, answer.Error.Desc)
		case answer.Return != nil && result != nil:
			return json.Unmarshal(answer.Return, result)
		case answer.Return != nil:
			return nil
		}
	}
}
