package api

import (
	"net/url"
	"sort"

	"github.com/perigee-sched/perigee/api/strict"
)

// What notes may hold, in bytes where they are text.
const (
	MaxAuthor  = 255
	MaxMessage = 4096
	MaxLinks   = 20
	MaxLink    = 2048
)

// Validate returns an Invalid that lists everything that is wrong with notes,
// nil when nothing is. Links are names of one line each, and http(s) URLs.
func (n *DeployNotes) Validate() error {
	var p problems
	if n.Author != "" {
		p.line("author", n.Author, MaxAuthor)
	}
	p.text("message", n.Message, MaxMessage)
	p.count("links", len(n.Links), MaxLinks)
	names := make([]string, 0, len(n.Links))
	for name := range n.Links {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names[:min(len(names), MaxLinks)] {
		at := strict.Join("links", name)
		if p.line(at, name, 64) && p.line(at, n.Links[name], MaxLink) {
			p.link(at, n.Links[name])
		}
	}
	if len(p) > 0 {
		return Invalid(p)
	}
	return nil
}

// link wants a URL that people may follow.
func (p *problems) link(at, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		p.add(at, text, "%q is not a link: write it as https://ci.example.com/builds/41", strict.Shorten(text))
	}
}
