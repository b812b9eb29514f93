package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Records are the measurements of a run. Each is also a line of NAME.jsonl.
type Records[T any] struct {
	All  []T
	file *os.File
	name string
}

// NewRecords creates folder/name.jsonl.
func NewRecords[T any](folder, name string) (*Records[T], error) {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(folder, name+".jsonl")) //nolint:gosec // G304: the folder is the caller's to choose
	return &Records[T]{file: file, name: name}, err
}

// Add writes r to the file and to standard error.
func (rs *Records[T]) Add(r T) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := rs.file.Write(append(line, '\n')); err != nil {
		return err
	}
	rs.All = append(rs.All, r)
	rs.Note("%s", line)
	return nil
}

// Select returns the records that match.
func (rs *Records[T]) Select(match func(*T) bool) []T {
	var out []T
	for i := range rs.All {
		if match(&rs.All[i]) {
			out = append(out, rs.All[i])
		}
	}
	return out
}

// Note prints progress to standard error.
func (rs *Records[T]) Note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, rs.name+": "+format+"\n", args...)
}

// Close closes the file.
func (rs *Records[T]) Close() {
	_ = rs.file.Close() // Add has checked each write
}
