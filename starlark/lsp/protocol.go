package lsp

// What of the Language Server Protocol (3.17) is spoken here, under its own
// names.

type position struct {
	Line      int `json:"line"`      // from 0
	Character int `json:"character"` // units of UTF-16, from 0
}

type span struct {
	Start position `json:"start"`
	End   position `json:"end"`
}

type location struct {
	URI   string `json:"uri"`
	Range span   `json:"range"`
}

type textDocument struct {
	URI  string `json:"uri"`
	Text string `json:"text"` // of didOpen
}

// A request has what requests about a place in a document have.
type request struct {
	TextDocument textDocument `json:"textDocument"`
	Position     position     `json:"position"`
}

type didChange struct {
	TextDocument   textDocument `json:"textDocument"`
	ContentChanges []struct {
		Text string `json:"text"`
	} `json:"contentChanges"`
}

type diagnostic struct {
	Range    span   `json:"range"`
	Severity int    `json:"severity"`
	Source   string `json:"source"`
	Message  string `json:"message"`
}

const severityError = 1

type publishDiagnostics struct {
	URI         string       `json:"uri"`
	Diagnostics []diagnostic `json:"diagnostics"`
}

type markup struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

type hover struct {
	Contents markup `json:"contents"`
}

// Kinds of completions.
const (
	kindMethod   = 2
	kindFunction = 3
	kindField    = 5
	kindVariable = 6
	kindModule   = 9
	kindKeyword  = 14
	kindProperty = 10
	kindFile     = 17
)

type completion struct {
	Label         string  `json:"label"`
	Kind          int     `json:"kind"`
	Detail        string  `json:"detail,omitempty"`
	Documentation *markup `json:"documentation,omitempty"`
	InsertText    string  `json:"insertText,omitempty"`
}

type signatureHelp struct {
	Signatures      []signature `json:"signatures"`
	ActiveSignature int         `json:"activeSignature"`
	ActiveParameter int         `json:"activeParameter"`
}

type signature struct {
	Label         string      `json:"label"`
	Documentation *markup     `json:"documentation,omitempty"`
	Parameters    []parameter `json:"parameters"`
}

type parameter struct {
	Label string `json:"label"`
}

type symbol struct {
	Name           string `json:"name"`
	Detail         string `json:"detail,omitempty"`
	Kind           int    `json:"kind"`
	Range          span   `json:"range"`
	SelectionRange span   `json:"selectionRange"`
}

const symbolFunction = 12

type textEdit struct {
	Range   span   `json:"range"`
	NewText string `json:"newText"`
}

// capabilities are what initialize answers.
var capabilities = map[string]any{
	"capabilities": map[string]any{
		"textDocumentSync":           map[string]any{"openClose": true, "change": 1, "save": true}, // 1 is whole texts
		"completionProvider":         map[string]any{"triggerCharacters": []string{"."}},
		"signatureHelpProvider":      map[string]any{"triggerCharacters": []string{"(", ","}},
		"hoverProvider":              true,
		"definitionProvider":         true,
		"documentSymbolProvider":     true,
		"documentFormattingProvider": true,
	},
}
