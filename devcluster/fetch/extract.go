package fetch

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// archives are the names' ends by which Mesos knows an archive. What kind it
// is, its content tells.
var archives = []string{".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip"}

// extract unpacks the file at path into the sandbox, if name is an archive's.
// A single compressed file is unpacked beside it.
func (f *fetcher) extract(ctx context.Context, path, name string, uri mesos.CommandInfo_URI) (extracted bool, err error) {
	archive := slices.ContainsFunc(archives, func(end string) bool { return strings.HasSuffix(name, end) })
	single, gz := strings.CutSuffix(name, ".gz")
	if !archive && (!gz || single == "") {
		f.log('W', "Copying instead of extracting resource from URI with 'extract' flag, because it does not seem to be an archive: %s", uri.Value)
		return false, nil
	}
	to, err := openTarget(f.sandbox, f.owner)
	if err != nil {
		return false, err
	}
	defer to.close()
	if archive {
		err = unpack(ctx, path, to)
	} else {
		err = gunzip(path, to, single)
	}
	if err != nil {
		return false, fmt.Errorf("failed to extract '%s' to '%s': %w", path, f.sandbox, err)
	}
	f.log('I', "Extracted '%s' into '%s'", path, f.sandbox)
	return true, nil
}

func gunzip(path string, to *target, name string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	content, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	return to.file(name, 0o644, content)
}

// unpack finds out by its first bytes what the archive is, like the library that
// Mesos uses: the name may be wrong.
func unpack(ctx context.Context, path string, to *target) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReader(file)
	magic, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return err
	}
	starts := func(s string) bool { return bytes.HasPrefix(magic, []byte(s)) }
	switch {
	case starts("PK"):
		err = unzip(file, to)
	case starts("\x1f\x8b"):
		var content *gzip.Reader
		if content, err = gzip.NewReader(in); err == nil {
			err = untar(content, to)
		}
	case starts("BZh"):
		err = untar(bzip2.NewReader(in), to)
	case starts("\xfd7zXZ\x00"):
		err = unxz(ctx, in, to)
	default:
		err = untar(in, to)
	}
	return errors.Join(err, to.finish())
}

// unxz takes the system's xz: the standard library has none.
func unxz(ctx context.Context, in io.Reader, to *target) error {
	cmd := exec.CommandContext(ctx, "xz", "-dc")
	cmd.Stdin = in
	content, err := startReading(cmd)
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("xz is not installed (Debian's package xz-utils)")
	} else if err != nil {
		return err
	}
	defer content.Close()
	return untar(content, to)
}

func untar(in io.Reader, to *target) error {
	entries := tar.NewReader(in)
	for {
		h, err := entries.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, in) // a checksum or an exit status may follow
			return err
		} else if err != nil {
			return fmt.Errorf("read archive header: %w", err)
		}
		if err := untarEntry(h, entries, to); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}

func untarEntry(h *tar.Header, content io.Reader, to *target) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := inside(h.Name)
	if err != nil {
		return err
	}
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		return to.directory(name, mode, h.ModTime)
	case tar.TypeReg, tar.TypeGNUSparse:
		if err := to.file(name, mode, content); err != nil {
			return err
		}
		return to.modified(name, h.ModTime)
	case tar.TypeSymlink:
		return to.symlink(name, h.Linkname)
	case tar.TypeLink:
		target, err := inside(h.Linkname)
		if err != nil {
			return err
		}
		return to.hardlink(name, target)
	}
	return fmt.Errorf("neither file, directory nor link, but of type %q", h.Typeflag)
}

// inside is an entry's name relative to the sandbox.
func inside(name string) (string, error) {
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", errors.New("path contains '..'")
	}
	name = strings.Trim(name, "/")
	if name == "" {
		name = "."
	}
	return name, nil
}

func unzip(file *os.File, to *target) error {
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(file, fi.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // inside looks at paths
		return err
	}
	for _, entry := range archive.File {
		if err := unzipEntry(entry, to); err != nil {
			return fmt.Errorf("entry %q: %w", entry.Name, err)
		}
	}
	return nil
}

func unzipEntry(entry *zip.File, to *target) error {
	name, err := inside(entry.Name)
	if err != nil {
		return err
	}
	mode := entry.Mode()
	if mode.IsDir() {
		return to.directory(name, orDefault(mode, 0o775), entry.Modified)
	}
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	switch {
	case mode&fs.ModeSymlink != 0:
		target, err := io.ReadAll(io.LimitReader(content, 1<<16))
		if err != nil {
			return err
		}
		return to.symlink(name, string(target))
	case !mode.IsRegular():
		return fmt.Errorf("neither file, directory nor link, but %v", mode)
	}
	if err := to.file(name, orDefault(mode, 0o664), content); err != nil {
		return err
	}
	return to.modified(name, entry.Modified)
}

// orDefault is for archives whose maker noted no mode.
func orDefault(mode, otherwise fs.FileMode) fs.FileMode {
	if mode.Perm() == 0 {
		return otherwise
	}
	return mode
}
