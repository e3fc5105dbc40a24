package endpoints

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"text/template"
	"time"
)

// builtIn are the templates that have names.
var builtIn = map[string]string{
	// Complete backends, for a further -f of HAProxy's command line.
	"haproxy-servers": `# Kept current by perigee endpoints: what is changed here is lost.
{{- range .Services}}{{range .Ports}}

backend {{.Backend}}
{{- range .Servers}}
    server {{.Name}} {{.Address}} check
{{- end}}
{{- end}}{{end}}
`,
	// How many serve a port, and each by a number from 0.
	"haproxy-map": `# Kept current by perigee endpoints: what is changed here is lost.
{{- range .Services}}{{range .Ports}}{{$key := .Key}}
{{$key}} {{len .Servers}}
{{- range $i, $s := .Servers}}
{{$key}}/{{$i}} {{ip $s.Host}} {{$s.Port}}
{{- end}}
{{- end}}{{end}}
`,
}

// BuiltIn are the names of the templates that are built in.
func BuiltIn() []string { return slices.Sorted(maps.Keys(builtIn)) }

// Template makes text of services.
type Template struct{ t *template.Template }

// maxTemplate bounds a template, in bytes.
const maxTemplate = 1 << 20

// ReadTemplate returns the template of a name, or of a file. It is tried at once,
// so that one which cannot work is refused before it is needed.
func ReadTemplate(name string) (*Template, error) {
	text, ok := builtIn[name]
	if !ok {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s, and no template of that name: built in are %s: %w", name, strings.Join(BuiltIn(), " and "), err)
		}
		if err != nil {
			return nil, fmt.Errorf("read the template: %w", err)
		}
		if len(data) > maxTemplate {
			return nil, fmt.Errorf("%s is larger than a template may be, 1 MiB", name)
		}
		text = string(data)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the template is not valid: %w", err)
	}
	return &Template{t}, nil
}

// Render returns what the template makes of services. It may look host names up.
func (t *Template) Render(services []Service) ([]byte, error) {
	var b bytes.Buffer
	if err := t.t.Execute(&b, struct{ Services []Service }{services}); err != nil {
		return nil, fmt.Errorf("render the template: %w", err)
	}
	return b.Bytes(), nil
}

var functions = template.FuncMap{
	"ip":      lookUp,
	"json":    encode,
	"lower":   strings.ToLower,
	"upper":   strings.ToUpper,
	"replace": func(from, to, text string) string { return strings.ReplaceAll(text, from, to) },
	"join":    func(separator string, parts []string) string { return strings.Join(parts, separator) },
}

func encode(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

// lookUp is an address of a host: the first of IPv4, if it has one.
func lookUp(host string) (string, error) {
	if net.ParseIP(host) != nil {
		return host, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, ip := range found {
		if ip.To4() != nil {
			return ip.String(), nil
		}
	}
	return found[0].String(), nil
}
