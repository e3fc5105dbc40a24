package api

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

// FileName is what a is called in the sandbox: its Name, or else the last part
// of its URI's path, "" when that gives none.
func (a Artifact) FileName() string {
	if a.Name != "" {
		return a.Name
	}
	u, err := url.Parse(a.URI)
	if err != nil || u.Path == "" || strings.HasSuffix(u.Path, "/") {
		return ""
	}
	return path.Base(u.Path)
}

var archives = []string{".tar.gz", ".tgz", ".tar", ".zip"}

// Archive says whether a's name, or its URI's, is like that of something that
// can be unpacked.
func (a Artifact) Archive() bool {
	names := []string{strings.ToLower(a.FileName())}
	if u, err := url.Parse(a.URI); err == nil {
		names = append(names, strings.ToLower(u.Path))
	}
	return slices.ContainsFunc(archives, func(suffix string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, suffix) })
	})
}

var (
	sha256Hex = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	// taken matches the names that Mesos and the executor use in the sandbox.
	taken = regexp.MustCompile(`^((stdout|stderr)(\..*)?|tmp|logs|\.perigee.*)$`)
)

func (p *problems) artifacts(list []Artifact) {
	p.count("artifacts", len(list), 100)
	seen := map[string]int{}
	for i, a := range list {
		at := strict.Index("artifacts", i)
		if !p.uri(at+".uri", a.URI) {
			continue
		}
		p.checksum(at+".sha256", a)
		name := a.FileName()
		p.artifactName(at+".name", name)
		if first, taken := seen[name]; taken && name != "" {
			p.add(at+".name", name, "%q is the name of %s too: give one of them another name", strict.Shorten(name), strict.Index("artifacts", first))
		} else {
			seen[name] = i
		}
		if a.Unpack != nil && *a.Unpack && !a.Archive() {
			p.add(at+".unpack", true, "%q is not called like an archive (%s): set a name that is", strict.Shorten(name), orList(archives))
		}
	}
}

func (p *problems) uri(at, uri string) bool {
	if !p.line(at, uri, 2048) {
		return false
	}
	before := len(*p)
	u, err := url.Parse(uri)
	if err != nil {
		var inner *url.Error // repeats the URI
		if errors.As(err, &inner) {
			err = inner.Err
		}
		p.add(at, uri, "is not a URI: %v", err)
		return false
	}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			p.add(at, uri, "names no host: write it as %s://host/path", u.Scheme)
		}
	case "file":
		p.fileURI(at, uri, u)
	case "":
		p.add(at, uri, "has no scheme: begin it with http://, https:// or file://")
	default:
		p.add(at, uri, "%s cannot be fetched: http, https and file can", strict.Shorten(u.Scheme))
	}
	return len(*p) == before
}

func (p *problems) fileURI(at, uri string, u *url.URL) {
	switch {
	case u.Host == "." || u.Host == "..":
		p.add(at, uri, "is relative, which only job files may be: file:// takes an absolute path of the agent, as in file:///opt/app.pex")
	case u.Host != "" && u.Host != "localhost":
		p.add(at, uri, "names the host %q: file:// takes an absolute path of the agent, with three slashes, as in file:///opt/app.pex", u.Host)
	case !path.IsAbs(u.Path) || u.Path == "/":
		p.add(at, uri, "names no file: write it as file:///opt/app.pex")
	}
}

func (p *problems) checksum(at string, a Artifact) {
	switch {
	case a.SHA256 == "" && !strings.HasPrefix(strings.ToLower(a.URI), "file:"):
		p.add(at, nil, "is missing: an artifact that is fetched over the network is verified; sha256sum prints it")
	case a.SHA256 != "" && !sha256Hex.MatchString(a.SHA256):
		p.add(at, a.SHA256, "is not a SHA-256: it has %d characters, and must be 64 hexadecimal digits", len(a.SHA256))
	}
}

func (p *problems) artifactName(at, name string) {
	switch {
	case name == "":
		p.add(at, nil, "is missing: the URI ends in no file name to take it from")
	case !p.text(at, name, 255):
	case name == "." || name == ".." || strings.ContainsAny(name, `/\`):
		p.add(at, name, "%q must be a file name, without slashes", strict.Shorten(name))
	case taken.MatchString(name):
		p.add(at, name, "%q is taken: what Mesos and Perigee keep in the sandbox is called so", strict.Shorten(name))
	case strings.HasPrefix(name, "-") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		p.add(at, name, "%q must not begin with a hyphen or have control characters", strict.Shorten(name))
	}
}
