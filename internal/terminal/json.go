package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// MarshalJSON returns v as JSON of one line, in which no character acts on a terminal:
// it is written as \u and its number, so that the value is the same.
func MarshalJSON(v any) ([]byte, error) { return marshal(v, "") }

// MarshalJSONIndent is [MarshalJSON] in several lines.
func MarshalJSONIndent(v any) ([]byte, error) { return marshal(v, "  ") }

// WriteJSON writes what [MarshalJSON] or, if indent is set, [MarshalJSONIndent] returns,
// and a line break.
func WriteJSON(w io.Writer, v any, indent bool) error {
	by := ""
	if indent {
		by = "  "
	}
	text, err := marshal(v, by)
	if err == nil {
		_, err = w.Write(append(text, '\n'))
	}
	return err
}

func marshal(v any, indent string) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return escape(bytes.TrimSuffix(text.Bytes(), []byte("\n"))), nil
}

// escape is for JSON, where what is not ASCII lies within strings, and all of it is
// UTF-8. The encoder leaves DEL and all beyond ASCII as they are.
func escape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || !acts(r):
			out = append(out, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[size:]
	}
	return out
}
