package fetch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// validate refuses what Mesos refuses before it fetches anything.
func validate(uri mesos.CommandInfo_URI) error {
	if _, err := basename(uri.Value); err != nil {
		return err
	}
	switch {
	case uri.OutputFile == nil:
		return nil
	case *uri.OutputFile == "":
		return errors.New("URI output file path is empty")
	case strings.HasPrefix(*uri.OutputFile, "/"):
		return errors.New("URI output file must be within the sandbox directory")
	}
	return nil
}

// basename is what follows the last slash. A query is no query to Mesos, but
// part of the name.
func basename(uri string) (string, error) {
	if strings.ContainsAny(uri, "\\'\x00") {
		return "", errors.New("Illegal characters in URI") // Mesos's spelling
	}
	i := strings.Index(uri, "://")
	if i <= 1 {
		return filepath.Base(uri), nil
	}
	_, name, ok := strings.Cut(uri[i+len("://"):], "/")
	if !ok || name == "" {
		return "", fmt.Errorf("Malformed URI (missing path): %s", uri) // Mesos's spelling
	}
	return name[strings.LastIndexByte(name, '/')+1:], nil
}

// outputFile is where in the sandbox a valid uri goes.
func outputFile(uri mesos.CommandInfo_URI) string {
	if uri.OutputFile != nil {
		return *uri.OutputFile
	}
	name, _ := basename(uri.Value)
	return name
}

// source is where content comes from: a local path or a URL.
type source struct {
	path, url string
	cached    bool // path is in the cache, which only the agent reads
}

func parseSource(uri string) (source, error) {
	uri = strings.TrimLeft(uri, " \t\r\n")
	file := strings.HasPrefix(uri, "file://")
	if file || !strings.Contains(uri, "://") {
		path := strings.TrimPrefix(strings.TrimPrefix(uri, "file://"), "localhost")
		switch {
		case strings.HasPrefix(path, "/"):
			return source{path: path}, nil
		case file:
			return source{}, errors.New("file URI only supports absolute paths")
		}
		return source{}, errors.New("a relative path was passed for the resource; use an absolute one, or a URI with http://, https:// or file://")
	}
	if strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://") {
		return source{url: uri}, nil
	}
	scheme, _, _ := strings.Cut(uri, "://")
	return source{}, fmt.Errorf("nothing fetches %s:// here; use http://, https:// or file://", scheme)
}
