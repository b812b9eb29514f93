package app

import (
	"runtime"
	"testing"
)

func TestPercentFor(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		live uint64
		want int
	}{
		{0, 100}, // before the first collection
		{30 * mib, 100},
		{128 * mib, 100},
		{256 * mib, 50},
		{400 * mib, 32},
		{4096 * mib, 25}, // no less than what is taken at rest
	}
	for _, test := range tests {
		if got := percentFor(test.live); got != test.want {
			t.Errorf("%d MiB: %d, want %d", test.live/mib, got, test.want)
		}
	}
}

func TestLiveHeapIsThatOfTheLastCollection(t *testing.T) {
	const size = 64 << 20
	kept := make([]byte, size)
	runtime.GC()
	with := liveHeap()
	runtime.KeepAlive(kept)
	runtime.GC()
	if without := liveHeap(); with < size || with < without+size/2 {
		t.Errorf("%d bytes live with %d of them in use, %d without", with, size, without)
	}
}
