package history

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
)

//go:embed schema
var schemaFiles embed.FS

// scripts are the migrations of one dialect, in order.
func scripts(dialect string) []string {
	paths, err := fs.Glob(schemaFiles, "schema/"+dialect+"/*.sql")
	if err != nil || len(paths) == 0 {
		panic("history: no schema of " + dialect)
	}
	slices.Sort(paths)
	out := make([]string, len(paths))
	for i, p := range paths {
		text, err := schemaFiles.ReadFile(p)
		if err != nil {
			panic(err) // it is part of the program
		}
		out[i] = string(text)
	}
	return out
}

// migrate brings the schema to this version, in one transaction for each
// version, and refuses a history that is another cluster's or of a newer
// version.
func (s *store) migrate(ctx context.Context, cluster string) error {
	scripts := s.schemas()
	for done := false; !done; {
		err := s.inTransaction(ctx, func() error {
			if err := s.alone(ctx, s.conn); err != nil {
				return err
			}
			version, err := s.version(ctx, cluster)
			if err != nil {
				return err
			}
			if version > len(scripts) {
				return wrong("this history has schema version %d, and this scheduler knows those up to %d: it was used by a newer version of Perigee. Use that version, or another history", version, len(scripts))
			}
			if done = version == len(scripts); done {
				return nil
			}
			if _, err := s.conn.ExecContext(ctx, scripts[version]); err != nil {
				return fmt.Errorf("bring history's schema to version %d: %w", version+1, err)
			}
			return s.noteVersion(ctx, version+1, cluster)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// version is the schema's, 0 when there is none yet.
func (s *store) version(ctx context.Context, cluster string) (int, error) {
	blank, err := s.blank(ctx, s.conn)
	if err != nil || blank {
		return 0, err
	}
	found := map[string]string{}
	rows, err := s.conn.QueryContext(ctx, `SELECT name, value FROM meta`)
	if err != nil {
		return 0, fmt.Errorf("read whose history this is: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return 0, err
		}
		found[name] = value
	}
	version, err := strconv.Atoi(found["schema"])
	switch {
	case rows.Err() != nil:
		return 0, rows.Err()
	case err != nil || version < 1:
		return 0, wrong("this is no history of Perigee's: its schema has the version %q", found["schema"])
	case found["cluster"] != cluster:
		return 0, wrong("this is the history of the cluster %q, and this one is %q: give each cluster a history of its own", found["cluster"], cluster)
	}
	return version, nil
}

func (s *store) noteVersion(ctx context.Context, version int, cluster string) error {
	_, err := s.conn.ExecContext(ctx, s.rebind(`INSERT INTO meta (name, value) VALUES ('schema', ?), ('cluster', ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`), strconv.Itoa(version), cluster)
	if err != nil {
		return fmt.Errorf("note the version of history's schema: %w", err)
	}
	return nil
}
