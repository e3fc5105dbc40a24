package sandbox

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Handler serves /files/browse, /files/read and /files/download.
func Handler(lookup Lookup) http.Handler { return New(lookup).Handler() }

// Handler serves /files/browse, /files/read and /files/download.
func (f *Files) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/files/browse", withPath(f.serveBrowse))
	mux.HandleFunc("/files/read", withPath(f.serveRead))
	mux.HandleFunc("/files/download", withPath(f.serveDownload))
	return mux
}

// withPath refuses a request without a path before anything else of it is read.
func withPath(serve func(w http.ResponseWriter, path string, query url.Values) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		path := query.Get("path")
		err := error(&Error{http.StatusBadRequest, "Expecting 'path=value' in query.\n"})
		if path != "" {
			err = serve(w, path, query)
		}
		if err != nil {
			answerError(w, err)
		}
	}
}

func answerError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = broken("%v", err)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(e.Status)
	io.WriteString(w, e.Message) // a client that has gone is not our matter
}

func answerJSON(w http.ResponseWriter, query url.Values, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	if query.Has("jsonp") {
		w.Header().Set("Content-Type", "text/javascript")
		body = append(append([]byte(query.Get("jsonp")+"("), body...), ')')
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // a client that has gone is not our matter
	return nil
}

func (f *Files) serveBrowse(w http.ResponseWriter, path string, query url.Values) error {
	list, err := f.Browse(path)
	if err != nil {
		return err
	}
	body := []byte{'['}
	for i, info := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendFileInfo(body, info)
	}
	return answerJSON(w, query, append(body, ']'))
}

func (f *Files) serveRead(w http.ResponseWriter, path string, query url.Values) error {
	offset, err := number(query, "offset", "Negative offset provided")
	if err != nil {
		return err
	}
	length, err := number(query, "length", "Negative length provided")
	if err != nil {
		return err
	}
	// An offset of -1 asks for the size alone, whatever the length.
	from, most := uint64(max(offset, 0)), (*uint64)(nil)
	if offset == -1 {
		most = new(uint64)
	} else if length >= 0 {
		n := uint64(length)
		most = &n
	}
	data, size, err := f.Read(path, from, most)
	if err != nil {
		return err
	}
	if offset == -1 {
		offset = int64(size)
	}
	body := appendQuoted([]byte(`{"data":`), string(data))
	body = strconv.AppendInt(append(body, `,"offset":`...), offset, 10)
	return answerJSON(w, query, append(body, '}'))
}

// number is the value of a parameter that may be -1 or missing, which is the same.
func number(query url.Values, name, negative string) (int64, error) {
	if !query.Has(name) {
		return -1, nil
	}
	text := query.Get(name)
	base := 10
	if s := strings.TrimPrefix(text, "-"); strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") {
		base = 0
	}
	n, err := strconv.ParseInt(text, base, 64)
	if err != nil {
		return 0, invalid("Failed to parse %s: Failed to convert '%s' to number", name, text)
	}
	if n < -1 {
		return 0, invalid("%s: %d", negative, n)
	}
	return n, nil
}

func (f *Files) serveDownload(w http.ResponseWriter, path string, _ url.Values) error {
	at, err := f.resolve(path)
	if err == error(notFound) {
		return &Error{http.StatusNotFound, "404 Not Found."} // unlike the other two
	} else if err != nil {
		return err
	}
	if isDirectory(at.real) {
		return &Error{http.StatusBadRequest, "Cannot download a directory.\n"}
	}
	file, err := at.open()
	if err != nil {
		return &Error{http.StatusNotFound, "404 Not Found."}
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return &Error{http.StatusNotFound, "404 Not Found."}
	}
	w.Header().Set("Content-Type", contentType(at.real))
	w.Header().Set("Content-Disposition", "attachment; filename="+filepath.Base(at.real))
	w.Header().Set("Content-Length", strconv.FormatInt(fi.Size(), 10))
	io.CopyN(w, file, fi.Size()) // a file that grows meanwhile is cut at the length announced
	return nil
}

// contentTypes are those that Mesos knows, of the files that a sandbox is likely
// to have. It knows none for .log, .json, .gz.
var contentTypes = map[string]string{
	".c": "text/plain", ".css": "text/css", ".gif": "image/gif", ".h": "text/plain", ".htm": "text/html",
	".html": "text/html", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".js": "application/x-javascript",
	".pdf": "application/pdf", ".pl": "text/plain", ".png": "image/png", ".py": "text/x-python",
	".sh": "application/x-sh", ".tar": "application/x-tar", ".tsv": "text/tab-separated-values",
	".txt": "text/plain", ".xml": "text/xml", ".zip": "application/zip",
}

func contentType(path string) string {
	if t, ok := contentTypes[filepath.Ext(path)]; ok {
		return t
	}
	return "application/octet-stream"
}

// appendFileInfo appends the object that /files/browse shows of a file.
func appendFileInfo(b []byte, info mesos.FileInfo) []byte {
	b = appendQuoted(append(b, `{"gid":`...), *info.GID)
	b = appendQuoted(append(b, `,"mode":`...), modeString(*info.Mode))
	b = strconv.AppendInt(append(b, `,"mtime":`...), info.Mtime.Nanoseconds/1e9, 10)
	b = strconv.AppendInt(append(b, `.0,"nlink":`...), int64(*info.Nlink), 10)
	b = appendQuoted(append(b, `,"path":`...), info.Path)
	b = strconv.AppendUint(append(b, `,"size":`...), *info.Size_, 10)
	b = appendQuoted(append(b, `,"uid":`...), *info.UID)
	return append(b, '}')
}

// modeString is ls's, but without set-id and sticky bits: -rw-r--r--.
func modeString(mode uint32) string {
	kind := byte('-')
	switch mode >> 12 {
	case 1:
		kind = 'p'
	case 2:
		kind = 'c'
	case 4:
		kind = 'd'
	case 6:
		kind = 'b'
	case 12:
		kind = 's'
	}
	s := []byte{kind}
	for i, c := range "rwxrwxrwx" {
		if mode&(1<<(8-i)) == 0 {
			c = '-'
		}
		s = append(s, byte(c))
	}
	return string(s)
}

// appendQuoted appends s as a JSON string. Bytes that are not UTF-8 stay as they
// are, as in Mesos: a read may begin or end inside a character, and a client
// that puts chunks together must get the bytes of the file. encoding/json
// would replace them.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		switch short := strings.IndexByte("\"\\\b\f\n\r\t", c); {
		case short >= 0:
			b = append(b, '\\', `"\bfnrt`[short])
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
