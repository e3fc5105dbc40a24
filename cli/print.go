package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perigee-sched/perigee/api"
)

// printJSON writes v as indented JSON.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// list prints items as JSON, or as a table.
func list[T any](a *app, items []T, none string, header []string, row func(T) []string) error {
	if a.json() {
		if items == nil {
			items = []T{}
		}
		return a.printJSON(items)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(a.Out, none)
		return err
	}
	t := a.table(header...)
	for _, item := range items {
		t.add(row(item)...)
	}
	return t.print(a.Out)
}

type paint string

// Colours, as terminals know them.
const (
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
	dim    paint = "2"
	bold   paint = "1"
)

func (a *app) paint(p paint, text string) string {
	if !a.color || p == "" || text == "" {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

var paints = map[string]paint{
	"running": green, "ready": green, "succeeded": green, "finished": green, "yes": green,
	"pending": yellow, "waiting": yellow, "deploying": yellow, "in_progress": yellow, "launching": yellow,
	"staging": yellow, "starting": yellow, "active": yellow, "unreachable": yellow, "paused": yellow, "removing": yellow,
	"killing": yellow, "stopping": yellow, "skipped": yellow, "missed": yellow,
	"rolling_back": yellow, "rolled_back": red, instanceFailing: red, instanceNotReady: yellow, instanceToReturn: yellow,
	instanceBack: green, instanceToMove: dim,
	"failed": red, "lost": red, "no": red,
	"killed": dim, "idle": dim, "cancelled": dim, "superseded": dim,
}

// state is a state's name in its colour.
func (a *app) state(s string) string { return a.paint(paints[s], strings.ReplaceAll(s, "_", " ")) }

// table has its columns aligned when it is printed.
type table struct {
	rows  [][]string
	width int // of the terminal; the last column is cut to it
}

func (a *app) table(header ...string) *table {
	t := &table{width: a.width()}
	for i, h := range header {
		header[i] = a.paint(dim, h)
	}
	if len(header) > 0 {
		t.add(header...)
	}
	return t
}

func (t *table) add(cells ...string) {
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		cells[i] = strings.ReplaceAll(c, "\n", " ")
	}
	t.rows = append(t.rows, cells)
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

func visible(s string) int { return utf8.RuneCountInString(escape.ReplaceAllString(s, "")) }

func (t *table) print(w io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], visible(c))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		at := 0
		for i, c := range row {
			if i == len(row)-1 {
				b.WriteString(cut(c, t.width-at))
				break
			}
			b.WriteString(c + strings.Repeat(" ", widths[i]-visible(c)+2))
			at += widths[i] + 2
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cut shortens what is wider than a terminal has room for; nothing where there
// is no terminal, or hardly any room.
func cut(s string, room int) string {
	if room < 20 || visible(s) <= room || strings.Contains(s, "\x1b") {
		return s
	}
	return string([]rune(s)[:room-1]) + "…"
}

// ago is how long something is past: 5s, 3m, 2h, 4d.
func (a *app) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(a.now().Sub(t))
}

func (a *app) since(t *time.Time) string {
	if t == nil {
		return ""
	}
	return a.ago(*t)
}

func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// clock is a time of today, or a date and time.
func (a *app) clock(t time.Time) string {
	t = t.Local()
	if now := a.now(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// took is the time between two moments, the second may be now.
func (a *app) took(from, to *time.Time) string {
	if from == nil {
		return ""
	}
	end := a.now()
	if to != nil {
		end = *to
	}
	if d := end.Sub(*from); d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return short(end.Sub(*from))
}

// number is a count without trailing zeros.
func number(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", f), "0"), ".")
}

// size is an amount of bytes in three digits or so.
func size(b api.Bytes) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(b), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f >= 100 {
		return fmt.Sprintf("%.0f%s", f, units[i])
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + units[i]
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
