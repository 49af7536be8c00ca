package crstest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// WriteRelease writes the embedded CRS into a folder, as a release of the CRS is laid out:
// crs-setup.conf.example and rules/. Files of the same names are replaced.
func WriteRelease(dir string) error {
	for from, to := range map[string]string{"@crs-setup.conf.example": ".", "@owasp_crs/*": "rules"} {
		names, err := fs.Glob(coreruleset.FS, from)
		if err != nil || len(names) == 0 {
			return fmt.Errorf("list embedded rules %s: %w", from, err)
		}
		if err := os.MkdirAll(filepath.Join(dir, to), 0o755); err != nil {
			return err
		}
		for _, name := range names {
			text, err := fs.ReadFile(coreruleset.FS, name)
			if err != nil {
				return err
			}
			base := path.Base(name)
			if base[0] == '@' {
				base = base[1:]
			}
			if err := os.WriteFile(filepath.Join(dir, to, base), text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
