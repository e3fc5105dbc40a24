// Package docs holds what the binary prints of the documentation.
package docs

import _ "embed"

// JobFileSchema is the JSON Schema (2020-12) of job files. It is written by
// `go test ./config -update`.
//
//go:embed job-file.schema.json
var JobFileSchema []byte
