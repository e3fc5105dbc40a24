package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// recordDir is where the .proto files are, relative to the module's root. It is part of each
// file's name in the descriptor registry, which is why it is not taken from the working directory.
const recordDir = "scheduler/record"

// plugin is run from source with the module's own version; its package is internal to its module,
// so it cannot be called in process.
const plugin = "google.golang.org/protobuf/cmd/protoc-gen-go"

// output is one generated file; its name is relative to the module's root, with slashes.
type output struct {
	name    string
	content []byte
}

// generate compiles every .proto file of recordDir under root and returns the Go files they give.
func generate(root string) ([]output, error) {
	paths, err := filepath.Glob(filepath.Join(root, recordDir, "*.proto"))
	if err != nil {
		return nil, fmt.Errorf("list proto files: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no .proto file in %s", filepath.Join(root, recordDir))
	}
	names := make([]string, len(paths)) // Glob sorts
	for i, p := range paths {
		names[i] = path.Join(recordDir, filepath.Base(p))
	}
	files, err := compile(root, names)
	if err != nil {
		return nil, err
	}
	return runPlugin(root, &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      files,
	})
}

// compile returns the descriptors of the named files and of all they import, imports first.
func compile(root string, names []string) ([]*descriptorpb.FileDescriptorProto, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments of the .proto become Go's
	}
	compiled, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, fmt.Errorf("compile records: %w", err)
	}
	var ordered []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var visit func(fd protoreflect.FileDescriptor)
	visit = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			visit(fd.Imports().Get(i).FileDescriptor)
		}
		ordered = append(ordered, protoutil.ProtoFromFileDescriptor(fd)) // keeps comments, unlike protodesc
	}
	for _, fd := range compiled {
		visit(fd)
	}
	return ordered, nil
}

// runPlugin passes the request to protoc-gen-go and returns the files it answers with.
func runPlugin(root string, req *pluginpb.CodeGeneratorRequest) ([]output, error) {
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	var out, stderr bytes.Buffer
	cmd := exec.Command("go", "run", plugin)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = root, bytes.NewReader(in), &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run protoc-gen-go: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out.Bytes(), &resp); err != nil {
		return nil, fmt.Errorf("decode answer of protoc-gen-go: %w", err)
	}
	if resp.Error != nil {
		return nil, fmt.Errorf("protoc-gen-go: %s", resp.GetError())
	}
	var outputs []output
	for _, f := range resp.File {
		outputs = append(outputs, output{name: f.GetName(), content: []byte(f.GetContent())})
	}
	return outputs, nil
}

// moduleRoot returns the directory of the go.mod that the working directory is under.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find go.mod: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("find go.mod: run this inside the module")
	}
	return filepath.Dir(mod), nil
}
