package wire

import "strconv"

// AppendRecord appends a RecordIO record: the length of data in decimal, a
// newline, data.
func AppendRecord(b, data []byte) []byte {
	b = strconv.AppendInt(b, int64(len(data)), 10)
	b = append(b, '\n')
	return append(b, data...)
}
