// Package strict reads trees of maps, lists and scalars into Go structs and
// tells everything that does not fit at once: unknown and repeated fields with
// the nearest valid name, and values of a wrong type, each with its path and
// its place in the source.
//
// It owns the tree (Node), the JSON reader that makes one, and Decode. Reading
// YAML into a tree is package config's, so that the executor, which reads JSON
// alone, links no YAML parser. What a value may be is its owner's: see the
// Validate methods of packages api and config.
package strict
