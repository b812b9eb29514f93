package harness

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Report is a sequence of markdown tables.
type Report struct{ text strings.Builder }

// Table starts a table.
func (r *Report) Table(columns ...string) {
	if r.text.Len() > 0 {
		r.text.WriteByte('\n')
	}
	r.text.WriteString("| " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat("---|", len(columns)) + "\n")
}

// Row adds a row to the last table. Decimal, Spread and SpreadOf format floats.
func (r *Report) Row(cells ...any) {
	r.text.WriteByte('|')
	for _, cell := range cells {
		fmt.Fprintf(&r.text, " %v |", cell)
	}
	r.text.WriteByte('\n')
}

// Print writes the report to w.
func (r *Report) Print(w io.Writer) error {
	_, err := io.WriteString(w, r.text.String())
	return err
}

// Decimal formats x with this number of decimals.
func Decimal(decimals int, x float64) string { return strconv.FormatFloat(x, 'f', decimals, 64) }

// MiB formats KiB as whole MiB.
func MiB(kib int) string { return Decimal(0, float64(kib)/1024) }
