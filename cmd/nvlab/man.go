package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// manual writes the manual page, as roff with the macros of man(7). It has no
// date, so that one version has one page.
func manual(w io.Writer) {
	fmt.Fprintf(w, ".TH NVLAB 1 \"\" %s\n", roffArgument("nvlab "+version()))
	fmt.Fprint(w, ".SH NAME\nnvlab \\- test lab for persistent memory\n.SH SYNOPSIS\n")
	for i, c := range commands() {
		if i > 0 {
			fmt.Fprint(w, ".br\n")
		}
		fmt.Fprintf(w, ".B nvlab %s\n", c.name)
		if c.args != "" {
			fmt.Fprintln(w, roff(c.args))
		}
	}
	fmt.Fprint(w, ".SH DESCRIPTION\n"+roff(`A scenario is a short Starlark text. nvlab turns it into a real machine with real NVDIMMs,
runs a stock kernel's own driver and ndctl on it, and judges the answers and the bytes.
"nvlab doc" explains the language of scenarios. Flags may have one dash or two, and stand before,
between and after the operands.`)+"\n")
	for _, d := range describe() {
		fmt.Fprintf(w, ".SH %s\n", roffArgument(strings.ToUpper(d.name)+" \u2013 "+d.short))
		roffText(w, d.long)
		for _, f := range d.flags {
			fmt.Fprintf(w, ".TP\n.BI %s %s\n", roffArgument("-"+f.name), roffArgument(strings.TrimRight(" "+f.arg, " ")))
			fmt.Fprintf(w, "%s\n", roff(f.text))
		}
	}
	fmt.Fprint(w, ".SH SEE ALSO\n.BR ndctl (1),\n.BR daxctl (1)\n")
}

// roffText writes a command's text: paragraphs, and lines with a margin as they
// are.
func roffText(w io.Writer, text string) {
	literal := false
	for line := range strings.SplitSeq(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		switch {
		case line == "" && !literal:
			fmt.Fprint(w, ".PP\n")
			continue
		case indented && !literal:
			fmt.Fprint(w, ".nf\n")
		case !indented && literal:
			fmt.Fprint(w, ".fi\n")
			if line == "" {
				fmt.Fprint(w, ".PP\n")
			}
		}
		if literal = indented; line != "" {
			fmt.Fprintln(w, roff(line))
		}
	}
	if literal {
		fmt.Fprint(w, ".fi\n")
	}
}

// roff is text without what the formatter takes for its own.
func roff(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		case strings.ContainsRune(".'", r) && (i == 0 || text[i-1] == '\n'): // a request
			fmt.Fprintf(&b, `\&%c`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func roffArgument(text string) string {
	return `"` + strings.ReplaceAll(roff(text), `"`, `""`) + `"`
}
