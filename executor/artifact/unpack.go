package artifact

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// maxEntries bounds what one archive unpacks to.
const maxEntries = 1 << 20

// unpacker puts an archive's entries below a directory of the sandbox, and
// nothing anywhere else: os.Root sees to that for writing, and the checks here
// refuse archives that try, and links that lead out.
type unpacker struct {
	Sandbox
	dir     string
	left    int64 // bytes that may still be written
	entries int
	links   []string // to be checked when everything is there
}

// unpack unpacks file in dir.
func (s Sandbox) unpack(ctx context.Context, format string, file *os.File, dir string) error {
	u := &unpacker{Sandbox: s, dir: dir, left: MaxSize}
	err := u.unpack(ctx, format, file)
	if err == nil {
		err = u.checkLinks()
	}
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

func (u *unpacker) unpack(ctx context.Context, format string, file *os.File) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch format {
	case ".zip":
		return u.zip(ctx, file)
	case ".tar":
		return u.tar(ctx, file)
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	return u.tar(ctx, z)
}

func (u *unpacker) tar(ctx context.Context, r io.Reader) error {
	t := tar.NewReader(r)
	for ctx.Err() == nil {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.tarEntry(h, t); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return context.Cause(ctx)
}

func (u *unpacker) tarEntry(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // git writes one
	}
	name, err := u.place(h.Name)
	if err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode) & 0o777
	switch h.Typeflag {
	case tar.TypeDir:
		return u.directory(name, mode)
	case tar.TypeReg:
		return u.file(name, mode, h.ModTime, r)
	case tar.TypeSymlink:
		return u.symlink(name, h.Linkname)
	case tar.TypeLink:
		return u.hardLink(name, h.Linkname)
	}
	return fmt.Errorf("entries of type %q are not allowed", h.Typeflag)
}

func (u *unpacker) zip(ctx context.Context, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(file, info.Size())
	if err != nil {
		return err
	}
	for _, f := range z.File {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := u.zipEntry(f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func (u *unpacker) zipEntry(f *zip.File) error {
	name, err := u.place(f.Name)
	if err != nil {
		return err
	}
	mode := f.Mode()
	if mode.IsDir() {
		return u.directory(name, mode.Perm())
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	switch mode.Type() {
	case 0:
		return u.file(name, mode.Perm(), f.Modified, r)
	case fs.ModeSymlink:
		target, err := io.ReadAll(io.LimitReader(r, 4<<10))
		if err != nil {
			return err
		}
		return u.symlink(name, string(target))
	}
	return fmt.Errorf("entries of type %s are not allowed", mode.Type())
}

// place returns where an entry goes in the sandbox.
func (u *unpacker) place(name string) (string, error) {
	if u.entries++; u.entries > maxEntries {
		return "", fmt.Errorf("more than %d entries", maxEntries)
	}
	clean := path.Clean(name)
	if strings.ContainsRune(name, 0) || !filepath.IsLocal(clean) {
		return "", errors.New("its path leads out of the sandbox")
	}
	full := path.Join(u.dir, clean)
	if reserved(full) {
		return "", errors.New("this name is reserved")
	}
	return full, nil
}

func (u *unpacker) directory(name string, mode fs.FileMode) error {
	if err := u.mkdirAll(name); err != nil || name == "." {
		return err
	}
	// The owner must be able to work in it, and later entries go there.
	return u.Root.Chmod(name, mode|0o700)
}

// clear makes way for an entry. Its directory must be a real one: through a
// link, a later entry's position would not be what its name says.
func (u *unpacker) clear(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := u.Root.Lstat(dir); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
	}
	if err := u.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := u.Root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *unpacker) file(name string, mode fs.FileMode, modified time.Time, r io.Reader) error {
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.Root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(r, u.left+1))
	if err != nil {
		return err
	}
	if u.left -= n; u.left < 0 {
		return fmt.Errorf("the archive is larger than %s", size(MaxSize))
	}
	if err := f.Chmod(mode | 0o400); err != nil {
		return err
	}
	if !modified.IsZero() {
		// Python compares modules with their caches by this time.
		if err := u.Root.Chtimes(name, modified, modified); err != nil {
			return err
		}
	}
	return u.own(name)
}

func (u *unpacker) symlink(name, target string) error {
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return fmt.Errorf("it links to %s, which is out of the sandbox", target)
	}
	if err := u.clear(name); err != nil {
		return err
	}
	if err := u.Root.Symlink(target, name); err != nil {
		return err
	}
	u.links = append(u.links, name)
	return u.own(name)
}

func (u *unpacker) hardLink(name, target string) error {
	from, err := u.place(target)
	if err != nil {
		return fmt.Errorf("it links to %s: %w", target, err)
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.Root.Link(from, name)
}

// checkLinks follows every link. Its own path says little: links may lead
// through others.
func (u *unpacker) checkLinks() error {
	for _, name := range u.links {
		if _, err := u.Root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}
