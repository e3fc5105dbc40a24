package config

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

// Checksum is one that a job file says where to read: sha256_from.
type Checksum struct {
	// Artifact is the index among the spec's.
	Artifact int
	// URL of a file with the checksum: http, https, or file with an absolute path.
	URL   string
	place Problem // where it is said
}

// ownArtifactFields are those that an artifact has only in a job file.
type ownArtifactFields struct {
	// SHA256From is where the checksum is read when deploying, instead of
	// sha256: a URL, in which ${uri} is the artifact's. The file is as sha256sum
	// writes it, or the 64 digits alone.
	SHA256From string `yaml:"sha256_from"`
}

// Bounds of reading a checksum.
const (
	maxChecksum  = 64 << 10 // bytes of its file
	checksumTime = 10 * time.Second
)

// checksumURL says what is wrong with where a checksum is to be read.
func checksumURL(text string) (wrong string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > 2048:
		return "is not a URL"
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && path.IsAbs(u.Path):
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
	default:
		return "is not where a checksum can be read: write it as https://host/path, or file:// and a path"
	}
	return ""
}

// Resolve reads the checksums that j's file says where to find, and puts them
// into the spec. Each file may have 64 KiB, be that of sha256sum or the bare 64
// digits, and take 10 s. An error is an *Error that says which could not be
// read; j is then as it was.
func Resolve(ctx context.Context, client *http.Client, j *Job) error {
	sums := make([]string, len(j.Checksums))
	var wrong []Problem
	for i, c := range j.Checksums {
		a := j.Spec.Artifacts[c.Artifact]
		text, err := readChecksum(ctx, client, c.URL)
		if err == nil {
			sums[i], err = findChecksum(text, a.URI)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			p := c.place
			p.Message, p.err = fmt.Sprintf("%s: %v", c.URL, err), err
			wrong = append(wrong, p)
		}
	}
	if len(wrong) > 0 {
		return &Error{wrong}
	}
	for i, c := range j.Checksums {
		j.Spec.Artifacts[c.Artifact].SHA256 = sums[i]
	}
	j.Checksums = nil
	return nil
}

func readChecksum(ctx context.Context, client *http.Client, from string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, checksumTime, fmt.Errorf("no answer within %s", checksumTime))
	defer cancel()
	u, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	if u.Scheme == "file" {
		if err := regular(u.Path); err != nil {
			return "", errors.New(reason(err))
		}
		f, err := os.Open(u.Path)
		if err != nil {
			return "", errors.New(reason(err))
		}
		defer f.Close()
		return bounded(f)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		var inner *url.Error // repeats the URL
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return "", err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", fmt.Errorf("answered %s: is the build published?", response.Status)
	default:
		return "", fmt.Errorf("answered %s", response.Status)
	}
	text, err := bounded(response.Body)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return text, err
}

func bounded(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxChecksum+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxChecksum:
		return "", fmt.Errorf("is more than %d bytes long: a file of checksums is shorter", maxChecksum)
	}
	return string(data), nil
}

// checksumLine is a line of sha256sum, with or without a file's name, in text
// or binary mode, escaped or not; checksumTag is one of sha256sum --tag.
var (
	checksumLine = regexp.MustCompile(`^\\?([0-9a-fA-F]{64})(?:[ \t]+\*?(.+))?$`)
	checksumTag  = regexp.MustCompile(`^SHA256 \((.+)\) = ([0-9a-fA-F]{64})$`)
)

// findChecksum returns the checksum of the artifact at uri: that of the line
// that names its file, or the only one there is.
func findChecksum(text, uri string) (string, error) {
	name := uri
	if u, err := url.Parse(uri); err == nil {
		name = path.Base(u.Path)
	}
	var only string
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		sum, file := "", ""
		if m := checksumLine.FindStringSubmatch(line); m != nil {
			sum, file = m[1], m[2]
		} else if m := checksumTag.FindStringSubmatch(line); m != nil {
			sum, file = m[2], m[1]
		} else {
			continue
		}
		if n++; path.Base(file) == name {
			return strings.ToLower(sum), nil
		}
		only = sum
	}
	switch n {
	case 0:
		return "", fmt.Errorf("has no SHA-256: it wants 64 hexadecimal digits, or lines as sha256sum writes them")
	case 1:
		_, err := hex.DecodeString(only)
		return strings.ToLower(only), err
	}
	return "", fmt.Errorf("has %d checksums, and none is that of %s", n, name)
}
