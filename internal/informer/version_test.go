package informer

import "testing"

func TestIsNewer(t *testing.T) {
	tests := []struct {
		name          string
		version, than string
		want          bool
	}{
		{name: "a newer version", version: "11", than: "10", want: true},
		{name: "the same version", version: "10", than: "10"},
		{name: "an older version", version: "9", than: "10"},
		{name: "numbers are compared, not letters", version: "1000", than: "999", want: true},
		{name: "no version", than: "10"},
		{name: "than no version", version: "10"},
		{name: "neither"},
		{name: "not a number", version: "x", than: "10"},
		{name: "than not a number", version: "10", than: "x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := IsNewer(test.version, test.than); got != test.want {
				t.Errorf("IsNewer(%q, %q) = %t, want %t", test.version, test.than, got, test.want)
			}
		})
	}
}
