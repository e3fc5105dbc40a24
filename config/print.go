package config

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Print writes s as the YAML that gives it, each value with its origin.
func (s Server) Print(w io.Writer, o Origins) error {
	type line struct{ text, origin string }
	var lines []line
	widest := 0
	var in []string // sections, from the outermost
	for _, setting := range settings {
		parts := strings.Split(setting.path, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		for i, s := range sections {
			if i < len(in) && in[i] == s {
				continue
			}
			in = nil // what is in another section has others
			lines = append(lines, line{text: strings.Repeat("  ", i) + s + ":"})
		}
		in = sections
		indent := strings.Repeat("  ", len(sections))
		value, origin := setting.format(&s), o.Of[setting.path]
		value = setting.printable(value)
		if value == "" && origin == "default" {
			origin += ": " + setting.unset()
		}
		l := line{indent + name + ": " + quoted(setting, value), origin}
		widest = max(widest, utf8.RuneCountInString(l.text))
		lines = append(lines, l)
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
		if l.origin != "" {
			b.WriteString(strings.Repeat(" ", widest-utf8.RuneCountInString(l.text)+2) + "# " + l.origin)
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./:@,-]*$`)

// quoted writes a value as YAML has it.
func quoted(s setting, text string) string {
	if s.kind() != "string" || plain.MatchString(text) && !strings.HasSuffix(text, ":") && !strings.EqualFold(text, "null") {
		return text
	}
	return strconv.Quote(text)
}
