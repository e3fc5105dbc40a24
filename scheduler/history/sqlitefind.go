package history

import "strings"

func (*sqliteFile) find(f find) (string, []any) {
	if len(f.any)+len(f.groups) == 0 {
		return `SELECT k FROM ` + f.table + ` WHERE k >= ? AND k < ? ORDER BY k DESC LIMIT ?`, []any{f.from, f.to, f.limit}
	}
	name := f.table + "_terms"
	return `SELECT rowid AS k FROM ` + name + ` WHERE ` + name + ` MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid DESC LIMIT ?`,
		[]any{match(f), f.from, f.to, f.limit}
}

// match is a find as FTS5 reads it: ("j1z8" OR "j1z9") AND ("wrefused").
func match(f find) string {
	groups := f.groups
	if len(f.any) > 0 {
		var any []string
		for _, t := range f.any {
			any = append(any, string(t.text(nil)))
		}
		groups = append([][]string{any}, groups...)
	}
	parts := make([]string, len(groups))
	for i, g := range groups {
		parts[i] = `("` + strings.Join(g, `" OR "`) + `")`
	}
	return strings.Join(parts, " AND ")
}
