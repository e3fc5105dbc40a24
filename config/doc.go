// Package config reads what people write in files: job files, and the server's
// configuration.
//
// Both are strict YAML: parsed to a tree (package api/strict), which is then
// read into a struct and checked; every problem is told at once, with file,
// line, column, the line itself and the nearest valid name. What a spec may be
// is package api's.
//
// Load returns the jobs of job files, with templates, stages and variables
// filled in; Render writes them; Resolve reads the checksums that they only
// name. DESIGN.md says how. Everything but Resolve works without a network.
//
// The server's configuration is one struct, Server, whose tags are the only
// list of settings: file, environment, flags, --print-config and
// docs/configuration.md all follow from them.
package config
