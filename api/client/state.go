package client

import (
	"context"
	"io"
	"net/url"
	"strconv"
)

// BackupState returns a backup of the whole state, which reflects a journal index
// at least; 0 is whatever the scheduler has. It is whole only if its trailer is
// there: package backup checks it. The caller closes it.
func (c *Client) BackupState(ctx context.Context, minIndex uint64) (io.ReadCloser, error) {
	q := url.Values{}
	if minIndex > 0 {
		q.Set("min_index", strconv.FormatUint(minIndex, 10))
	}
	return c.stream(ctx, "/v1/state/backup", q)
}
