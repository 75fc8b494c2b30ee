package debian

import (
	"strconv"
	"strings"
)

// An Alternative is a name that several packages may provide, and what one of
// them provides for it: /usr/bin/awk, the link, leads to /usr/bin/gawk.
type Alternative struct {
	Link, Name, Path string
	Priority         int // the highest wins
}

// Alternatives finds what a postinst registers with update-alternatives(1),
// slaves included. The script is read, not run: a line whose words depend on
// the shell's variables is passed over.
func Alternatives(postinst []byte) []Alternative {
	var list []Alternative
	text := strings.ReplaceAll(string(postinst), "\\\n", " ")
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		at := 0
		for at < len(words) && words[at] != "update-alternatives" {
			at++
		}
		list = append(list, alternativesOf(words[at:])...)
	}
	return list
}

// alternativesOf reads the words of one call: --install LINK NAME PATH
// PRIORITY and any number of --slave LINK NAME PATH.
func alternativesOf(words []string) (list []Alternative) {
	priority := 0
	for i := 0; i < len(words); i++ {
		n := map[string]int{"--install": 4, "--slave": 3}[words[i]]
		if n == 0 || i+n >= len(words) {
			continue
		}
		args := make([]string, n)
		for j := range args {
			args[j] = strings.Trim(words[i+1+j], `"';`)
		}
		i += n
		if n == 4 {
			var err error
			if priority, err = strconv.Atoi(args[3]); err != nil {
				return nil
			}
		}
		if strings.HasPrefix(args[0], "/") && strings.HasPrefix(args[2], "/") && args[1] != "" && !strings.ContainsAny(strings.Join(args, ""), "$`*?") && !strings.Contains(args[1], "/") {
			list = append(list, Alternative{Link: args[0], Name: args[1], Path: args[2], Priority: priority})
		}
	}
	return list
}
