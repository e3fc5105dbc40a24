package api

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

var jobPart = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseJobKey splits "team/stage/name". The error says which part is wrong and
// what is allowed.
func ParseJobKey(s string) (team, stage, name string, err error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return "", "", "", fmt.Errorf("%q is not a job: it is written team/stage/name, for example web/devel/hello", strict.Shorten(s))
	}
	for i, part := range parts {
		if !jobPart.MatchString(part) {
			return "", "", "", fmt.Errorf("%q is not a job: the %s %q must be 1 to 63 lower-case letters, digits and inner hyphens",
				strict.Shorten(s), [...]string{"team", "stage", "name"}[i], strict.Shorten(part))
		}
	}
	return parts[0], parts[1], parts[2], nil
}
