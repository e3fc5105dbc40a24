package history

import "strings"

func (*sqliteFile) find(f find) (string, []any) {
	if len(f.any)+len(f.all) == 0 {
		return `SELECT k FROM ` + f.table + ` WHERE k >= ? AND k < ? ORDER BY k DESC LIMIT ?`, []any{f.from, f.to, f.limit}
	}
	name := f.table + "_terms"
	return `SELECT rowid AS k FROM ` + name + ` WHERE ` + name + ` MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid DESC LIMIT ?`,
		[]any{match(f), f.from, f.to, f.limit}
}

// match is a find as FTS5 reads it: ("j1z8" OR "j1z9") AND "wrefused".
func match(f find) string {
	var b strings.Builder
	if len(f.any) > 0 {
		b.WriteByte('(')
		for i, t := range f.any {
			if i > 0 {
				b.WriteString(" OR ")
			}
			b.WriteByte('"')
			b.Write(t.text(nil))
			b.WriteByte('"')
		}
		b.WriteByte(')')
	}
	for _, word := range f.all {
		if b.Len() > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString(`"` + word + `"`)
	}
	return b.String()
}
