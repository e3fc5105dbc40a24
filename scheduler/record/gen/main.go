// Command gen writes the Go code of scheduler/record/*.proto.
//
// It owns how records become Go: the .proto files are compiled by protocompile, and the descriptors
// go to protoc-gen-go at the version go.mod names, so neither protoc nor anything downloaded by hand
// is needed and two machines write the same bytes. What the records say is the .proto files' business.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(root, f.name), f.content, 0o644); err != nil {
			return fmt.Errorf("write generated code: %w", err)
		}
	}
	return nil
}
