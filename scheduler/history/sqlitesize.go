package history

import "context"

// pages are a file's: all, those that are not in use, and their size.
func (*sqliteFile) pages(ctx context.Context, s *store) (all, free, size int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT p.page_count, f.freelist_count, z.page_size
		FROM pragma_page_count() AS p, pragma_freelist_count() AS f, pragma_page_size() AS z`).Scan(&all, &free, &size)
	return all, free, size, err
}

func (f *sqliteFile) used(ctx context.Context, s *store) (int64, error) {
	all, free, size, err := f.pages(ctx, s)
	return (all - free) * size, err
}

// vacuumPages are given back at a time.
const vacuumPages = 2_000

// vacuum makes the file smaller when more than a quarter of it is not in use, or
// when it is larger than it may be. Otherwise what is free is used again.
func (f *sqliteFile) vacuum(ctx context.Context, s *store, most int64) error {
	all, free, size, err := f.pages(ctx, s)
	if err != nil || free < all/4 && (most <= 0 || all*size <= most) || free < vacuumPages {
		return err
	}
	if s.conn == nil {
		return nil
	}
	_, err = s.conn.ExecContext(ctx, `PRAGMA incremental_vacuum(2000)`)
	return err
}
