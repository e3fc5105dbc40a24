package cli

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// screen keeps a frame, some lines that change, at the end of what a terminal
// shows. Lines that stay are written above it, so that they go into the
// scrollback like any other; the frame never does. It is for one goroutine.
type screen struct {
	out  io.Writer
	size func() (width, height int)

	shown   []string // the frame on the terminal, as it was clipped
	width   int      // of the terminal when it was drawn
	staying []string // to be written before the next frame
}

// stay has a line written above the frame, when that is drawn next.
func (s *screen) stay(line string) { s.staying = append(s.staying, strings.Split(line, "\n")...) }

// draw replaces the frame, in one write and without clearing it before, so that
// nothing flickers. It is cut to the terminal's size: a frame that is higher
// than that could not be replaced.
func (s *screen) draw(frame []string) {
	width, height := s.size()
	frame = slices.Clone(frame[:min(len(frame), max(height-1, 1))])
	for i := range frame {
		frame[i] = clip(frame[i], width-1)
	}
	if len(s.staying) == 0 && (width == s.width || len(frame)+len(s.shown) == 0) && slices.Equal(frame, s.shown) {
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[?2026h") // terminals that know it show all of this at once
	if up := min(s.rows(width), height-1); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
	for _, line := range s.staying {
		b.WriteString(line + "\x1b[K\n")
	}
	for _, line := range frame {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J\x1b[?2026l")
	io.WriteString(s.out, b.String()) // a terminal that is gone has nobody to tell
	s.shown, s.width, s.staying = frame, width, nil
}

// rows is how many rows the frame takes on the terminal as wide as it is now:
// most terminals break lines anew when they become narrower.
func (s *screen) rows(width int) int {
	rows := 0
	for _, line := range s.shown {
		rows += 1 + max(0, columns(line)-1)/max(width, 1)
	}
	return rows
}

// close removes the frame and writes what stays.
func (s *screen) close() { s.draw(nil) }

// leave has the frame stay as it is.
func (s *screen) leave() { s.shown = nil }

// columns is how wide text is on a terminal, at most.
func columns(s string) int {
	n := 0
	for _, r := range escape.ReplaceAllString(s, "") {
		n += columnsOf(r)
	}
	return n
}

// columnsOf takes wide characters for two columns, and some more than are.
func columnsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xff60, r >= 0x1f000:
		return 2
	}
	return 1
}

// clip shortens a line to so many columns, with … where something is missing.
// Colours count for nothing, and end with the line.
func clip(s string, room int) string {
	if columns(s) <= room {
		return s
	}
	var b strings.Builder
	left, colored := room-1, false
	for s != "" && left >= 0 {
		if code := escape.FindStringIndex(s); code != nil && code[0] == 0 {
			b.WriteString(s[:code[1]])
			colored = s[:code[1]] != "\x1b[0m"
			s = s[code[1]:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if left -= columnsOf(r); left < 0 {
			break
		}
		b.WriteRune(r)
		s = s[n:]
	}
	if room > 0 {
		b.WriteString("…")
	}
	if colored {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// wrap breaks a line at spaces into at most so many of a width, where there is
// one; those after the first are indented.
func wrap(s string, width, most int) []string {
	var lines []string
	for width > 20 && columns(s) > width-1 && len(lines) < most-1 {
		cut := strings.LastIndexByte(s[:fits(s, width-1)], ' ')
		if cut <= 0 || strings.TrimSpace(s[:cut]) == "" {
			break
		}
		lines, s = append(lines, s[:cut]), "  "+s[cut+1:]
	}
	return append(lines, s)
}

// fits is how many bytes of a line, colours included, so many columns have room
// for.
func fits(s string, room int) int {
	for i := 0; i < len(s); {
		if code := escape.FindStringIndex(s[i:]); code != nil && code[0] == 0 {
			i += code[1]
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if room -= columnsOf(r); room < 0 {
			return i
		}
		i += n
	}
	return len(s)
}

// controls are what steers a terminal, as it comes in what programs write.
var controls = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?)")

// oneLine is what a task or a person wrote, fit for a line of a terminal: what
// would steer the terminal is left out.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(controls.ReplaceAllString(s, ""), func(r rune) bool { return unicode.IsControl(r) || r == ' ' }), " ")
}

// plainLine is a line of a log, with its spaces, and nothing that would steer a
// terminal.
func plainLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, controls.ReplaceAllString(s, ""))
}
