// Package eventtest checks events, as they leave Perigee, against CloudEvents 1.0
// and the catalogue. It is for tests.
package eventtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// types are looked up often.
var types = api.EventTypes()

// Check says everything that is wrong with an event's JSON, nil when nothing is.
func Check(event []byte) error {
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal(event, &attributes); err != nil {
		return fmt.Errorf("an event that is no JSON object: %w", err)
	}
	problems := cloudEvent(attributes)
	var e api.Event
	if err := json.Unmarshal(event, &e); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, catalogued(e.Type, attributes["data"]))
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w\nin %s", err, event)
	}
	return nil
}

// cloudEvent says what in an event is not as CloudEvents 1.0 wants it, in its
// JSON format.
func cloudEvent(attributes map[string]json.RawMessage) (problems []error) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	texts := map[string]string{}
	for name, value := range attributes {
		if name == "data" {
			continue
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || len(name) > 20 {
			add("attribute %q: names are lower-case letters and digits, at most 20", name)
		}
		var text string
		if err := json.Unmarshal(value, &text); err != nil || text == "" {
			add("attribute %s is %s: it is to be a string that is not empty", name, value)
		}
		texts[name] = text
	}
	for _, name := range []string{"id", "source", "specversion", "type"} {
		if texts[name] == "" {
			add("attribute %s is missing", name)
		}
	}
	if texts["specversion"] != "1.0" {
		add("specversion is %q", texts["specversion"])
	}
	if _, err := url.Parse(texts["source"]); err != nil {
		add("source is no URI reference: %v", err)
	}
	if at, ok := texts["time"]; ok {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			add("time is not as RFC 3339 says: %v", err)
		}
	}
	if texts["datacontenttype"] != "application/json" {
		add("datacontenttype is %q, and data is JSON", texts["datacontenttype"])
	}
	return problems
}

// catalogued says what in an event is not as the catalogue has it.
func catalogued(typ string, data json.RawMessage) error {
	name, ok := strings.CutPrefix(typ, api.EventPrefix)
	t, known := types[name]
	if !ok || !known {
		return fmt.Errorf("type %q is not in the catalogue: add it to api/eventtypes.go", typ)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	for _, field := range t.Always {
		if fields[field] == nil {
			return fmt.Errorf("%s is to have %s always", name, field)
		}
	}
	for field := range fields {
		if !slices.Contains(t.Always, field) && !slices.Contains(t.Sometimes, field) {
			return fmt.Errorf("%s has %s, which the catalogue does not tell of", name, field)
		}
	}
	return nil
}
