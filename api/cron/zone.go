package cron

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones work on machines without an IANA database

	"github.com/perigee-sched/perigee/api/nearest"
)

// zoneNames lists the zones of the IANA database (public domain) that came with
// Go 1.26, one a line. It serves suggestions only: a zone it lacks still loads
// if the machine's database has it.
//
//go:embed zones.txt
var zoneNames string

// zones keeps loaded locations by name. A location is some 5 KiB, and many
// thousands of crons share a few of them; it never holds more than the IANA
// database has names.
var zones sync.Map

// location returns the IANA time zone of that name; "" is UTC.
func location(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	switch root, _, _ := strings.Cut(name, "/"); root {
	case "Local", "localtime", "posixrules", "posix", "right":
		// Files beside the zones that differ from machine to machine, or
		// count leap seconds.
		return nil, fmt.Errorf("time zone %q: would depend on the machine; name a region such as Europe/Berlin, or UTC", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: not in the IANA database; expected a region such as Europe/Berlin, or UTC%s",
			name, didYouMean(nearestZone(name)))
	}
	zones.Store(name, loc)
	return loc, nil
}

// nearestZone returns the zone a misspelt name most likely means: of that city,
// or spelt nearly so; or "".
func nearestZone(name string) string {
	names := strings.Fields(zoneNames)
	city := strings.ReplaceAll(name, " ", "_")
	for _, zone := range names {
		if i := strings.LastIndexByte(zone, '/'); i >= 0 && strings.EqualFold(zone[i+1:], city) {
			return zone
		}
	}
	return nearest.Name(name, names)
}

// didYouMean returns the end of an error that suggests something, "" if there
// is nothing to suggest.
func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", name)
}
